/** Whom the package tells what it does. A logger of pino fits, and so does anything of its shape. */

/** One level of a logger: fields, then a sentence. */
type Log = (fields: object, message: string) => void;

/** A logger in the shape of pino's. */
export interface TicketLogger {
  readonly debug: Log;
  readonly info: Log;
  readonly warn: Log;
  readonly error: Log;
}
