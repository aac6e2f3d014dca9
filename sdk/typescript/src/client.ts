/** The routes of `/api/tickets` that machines call. */

import { randomUUID } from "node:crypto";
import { type Dispatcher, request } from "undici";
import {
  Fields,
  type RegisterInstanceResult,
  type ReportSessionCreationResult,
  type RequestTicketResult,
  readHeartbeat,
  readInboxEntry,
  readInstance,
  readSession,
  readSessionAnswer,
  readTicketAnswer,
  readValidation,
  type SessionHeartbeatResult,
  type SessionInfo,
  type SessionStatus,
  type TicketInboxEntry,
  type TicketValidationResult,
  type TransportConfig,
} from "./answer.js";
import { TicketHttpError, TicketResponseError } from "./error.js";
import type { TicketLogger } from "./logger.js";

/** What a {@link TicketClient} needs. */
export interface TicketClientOptions {
  /** The https address of the gateway's machine listener. */
  readonly panelUrl: string;
  /** Of `createTicketDispatcher`: it carries the machine's certificate. */
  readonly dispatcher: Dispatcher;
  readonly logger: TicketLogger;
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the call, which rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

interface Call extends CallOptions {
  readonly body?: object;
  readonly headers?: Record<string, string>;
}

/** How long a call may take, in milliseconds. Chosen: a gateway that needs longer is as good as gone. */
const CALL_LIMIT_MS = 10_000;

/**
 * Calls the gateway as the machine that the dispatcher's certificate names.
 *
 * Every call rejects with a `TicketHttpError` when the gateway refuses, with a `TicketResponseError` when its answer has not the
 * right shape, and with the network's error when there is no answer within ten seconds.
 */
export class TicketClient {
  readonly #base: string;
  readonly #dispatcher: Dispatcher;
  readonly #logger: TicketLogger;

  constructor(options: TicketClientOptions) {
    const url = new URL(options.panelUrl);
    if (url.protocol !== "https:") throw new TypeError(`panelUrl begins with https:, not with ${url.protocol}`);
    this.#base = `${url.origin}${url.pathname.replace(/\/+$/, "")}/api/tickets`;
    this.#dispatcher = options.dispatcher;
    this.#logger = options.logger;
  }

  /** Offers an instance, or the same again: a machine has one for each scope. For the source. */
  async registerInstance(
    scope: string,
    transport: TransportConfig,
    options?: CallOptions,
  ): Promise<RegisterInstanceResult> {
    return readInstance(await this.#call("POST", "/instances", { ...options, body: { scope, transport } }));
  }

  /** Takes an instance back, with its assignments, tickets and sessions. For the source. */
  async deregisterInstance(instanceId: string, options?: CallOptions): Promise<void> {
    const answer = await this.#call("DELETE", `/instances/${encodeURIComponent(instanceId)}`, options);
    answer.yes("ok");
  }

  /** Says that the source is there. 404: the instance is gone. For the source. */
  async sendInstanceHeartbeat(instanceId: string, options?: CallOptions): Promise<void> {
    const answer = await this.#call("POST", `/instances/${encodeURIComponent(instanceId)}/heartbeat`, options);
    answer.yes("ok");
  }

  /** Asks for a ticket by which a target is let in to an instance. For the source. */
  async requestTicket(
    scope: string,
    instanceId: string,
    target: string,
    options?: CallOptions,
  ): Promise<RequestTicketResult> {
    return readTicketAnswer(await this.#call("POST", "", { ...options, body: { scope, instanceId, target } }));
  }

  /** Lists the live, unused tickets of the caller, of all scopes. For the target. */
  async fetchInbox(options?: CallOptions): Promise<TicketInboxEntry[]> {
    const answer = await this.#call("GET", "/inbox", options);
    return answer.objects("tickets").map(readInboxEntry);
  }

  /** Uses a ticket, once. An answer that is lost on the way is asked for once more. For the target. */
  async validateTicket(ticketId: string, options?: CallOptions): Promise<TicketValidationResult> {
    // The gateway answers the same key of the same caller again.
    const headers = { "idempotency-key": randomUUID() };
    const send = () => this.#call("POST", "/validate", { ...options, headers, body: { ticketId } });
    const answer = await send().catch((error: unknown) => {
      if (isAnswered(error) || options?.signal?.aborted) throw error;
      return send();
    });
    return readValidation(answer);
  }

  /** Opens the session of a ticket that the caller used within the last minute. For the target. */
  async reportSessionCreation(ticketId: string, options?: CallOptions): Promise<ReportSessionCreationResult> {
    return readSessionAnswer(await this.#call("POST", "/sessions", { ...options, body: { ticketId } }));
  }

  /** Says that an end of a session is there, and asks whether it may go on. For both ends. */
  async sendSessionHeartbeat(sessionId: string, options?: CallOptions): Promise<SessionHeartbeatResult> {
    return readHeartbeat(await this.#call("POST", `/sessions/${encodeURIComponent(sessionId)}/heartbeat`, options));
  }

  /** Says that an end of a session went for a moment, or is back. For both ends. */
  async updateSessionStatus(
    sessionId: string,
    status: Exclude<SessionStatus, "dead">,
    options?: CallOptions,
  ): Promise<SessionInfo> {
    const call = { ...options, body: { status } };
    const answer = await this.#call("PATCH", `/sessions/${encodeURIComponent(sessionId)}`, call);
    return readSession(answer.object("session"));
  }

  async #call(method: Dispatcher.HttpMethod, path: string, call: Call = {}): Promise<Fields> {
    const limit = new Limit(call.signal);
    try {
      // A connection that is still being made does not end with the signal, but the call does.
      return await Promise.race([this.#send(method, path, call, limit.signal), limit.over]);
    } finally {
      limit.lift();
    }
  }

  async #send(method: Dispatcher.HttpMethod, path: string, call: Call, signal: AbortSignal): Promise<Fields> {
    const { statusCode, body } = await request(this.#base + path, {
      method,
      dispatcher: this.#dispatcher,
      signal,
      headers: {
        accept: "application/json",
        ...(call.body && { "content-type": "application/json" }),
        ...call.headers,
      },
      body: call.body ? JSON.stringify(call.body) : null,
    });
    this.#logger.debug({ "http.method": method, "http.path": path, "http.status": statusCode }, "the gateway answered");
    const text = await body.text();
    if (statusCode < 200 || statusCode > 299) throw refusal(statusCode, text);
    return new Fields(parse(text), `the answer to ${method} /api/tickets${path}`);
  }
}

/** Ends a call when its time is over, or when the caller's signal does. */
class Limit {
  readonly #limit = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #outer: AbortSignal | undefined;
  readonly #cancel = () => this.#limit.abort(this.#outer?.reason);
  readonly signal = this.#limit.signal;
  /** Rejects when the call is to end. */
  readonly over: Promise<never>;

  constructor(outer: AbortSignal | undefined) {
    outer?.throwIfAborted();
    this.#outer = outer;
    this.over = new Promise((_, reject) => {
      this.signal.addEventListener("abort", () => reject(this.signal.reason), { once: true });
    });
    const late = () => this.#limit.abort(new Error(`the gateway did not answer within ${CALL_LIMIT_MS / 1000} s`));
    this.#timer = setTimeout(late, CALL_LIMIT_MS);
    outer?.addEventListener("abort", this.#cancel, { once: true });
  }

  lift(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#cancel);
  }
}

/** Tells whether an error is an answer, so that asking again would not help. */
function isAnswered(error: unknown): boolean {
  return error instanceof TicketHttpError || error instanceof TicketResponseError;
}

function refusal(statusCode: number, text: string): TicketHttpError {
  const body: unknown = parse(text);
  const { error, code } = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const message = typeof error === "string" ? error : `The gateway answered with status ${statusCode}.`;
  return new TicketHttpError(message, statusCode, typeof code === "string" ? code : undefined);
}

/** Gives what a JSON text says; nothing where it is none. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
