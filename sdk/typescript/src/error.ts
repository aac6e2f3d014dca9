/** What a call can fail with, beside what the network says. */

/** The gateway refused. `message` is its sentence. */
export class TicketHttpError extends Error {
  /** The HTTP status. */
  readonly statusCode: number;
  /** The stable code of the refusal, such as `ticket.invalid`; none where something before the gateway answered. */
  readonly code: string | undefined;

  constructor(message: string, statusCode: number, code?: string) {
    super(message);
    this.name = "TicketHttpError";
    this.statusCode = statusCode;
    this.code = code;
  }
}

/** The gateway agreed, but its answer has another shape than the contract says. */
export class TicketResponseError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TicketResponseError";
  }
}

/** Tells whether an error says that what was asked about is not there. */
export function isNotFound(error: unknown): boolean {
  return error instanceof TicketHttpError && error.statusCode === 404;
}

/** Tells whether an error says that the gateway does not take the caller's certificate. */
export function isUnauthorized(error: unknown): boolean {
  return error instanceof TicketHttpError && (error.statusCode === 401 || error.statusCode === 403);
}
