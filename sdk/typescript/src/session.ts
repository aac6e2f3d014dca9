/** The target's side: waits for a ticket, uses it, and keeps its session. */

import type { SessionInfo, TerminationReason, TicketInboxEntry } from "./answer.js";
import type { TicketClient } from "./client.js";
import { isNotFound, isUnauthorized } from "./error.js";
import type { TicketLogger } from "./logger.js";
import { pause } from "./pause.js";

/** What a {@link TicketSessionManager} stands at. Nothing but `authorized` lets anything through. */
export type SessionState = "waiting" | "authorized" | "grace" | "terminated" | "stopped";

/** The calls that a {@link TicketSessionManager} makes. */
export type TicketSessionCalls = Pick<
  TicketClient,
  "fetchInbox" | "validateTicket" | "reportSessionCreation" | "sendSessionHeartbeat" | "updateSessionStatus"
>;

/** What a {@link TicketSessionManager} needs. */
export interface TicketSessionManagerOptions {
  readonly ticketClient: TicketSessionCalls;
  /** Tickets of this scope are used, such as `shell:connect`; others are left alone. */
  readonly scope: string;
  readonly logger: TicketLogger;
  /** Is told each new state, and with `terminated` the reason. */
  readonly onStateChange?: (state: SessionState, reason?: TerminationReason) => void;
  /** How often the inbox is looked into. Default: 3000. */
  readonly inboxPollIntervalMs?: number;
  /** How often the gateway is asked whether the session may go on. Default: 60000. */
  readonly sessionHeartbeatIntervalMs?: number;
  /** How long is waited after a look or a ticket that failed. Default: 10000. */
  readonly inboxRetryDelayMs?: number;
  /** After how many failed heartbeats in a row the session is in grace. Default: 5. */
  readonly maxConsecutiveHeartbeatFailures?: number;
  /** Tickets with less time left are not used. Default: 5000. */
  readonly minTicketTtlMs?: number;
}

const INBOX_POLL_INTERVAL_MS = 3_000;
const SESSION_HEARTBEAT_INTERVAL_MS = 60_000;
const INBOX_RETRY_DELAY_MS = 10_000;
const MAX_CONSECUTIVE_HEARTBEAT_FAILURES = 5;
const MIN_TICKET_TTL_MS = 5_000;

/** From a start to its stop. */
interface Run {
  readonly stopping: AbortController;
  ended: Promise<void>;
}

/** Waits for a ticket, opens its session, keeps it, and waits for the next one when it is over. */
export class TicketSessionManager {
  readonly #options: TicketSessionManagerOptions;
  readonly #pollIntervalMs: number;
  readonly #heartbeatIntervalMs: number;
  readonly #retryDelayMs: number;
  readonly #maxFailures: number;
  readonly #minTtlMs: number;
  #run: Run | undefined;
  #state: SessionState = "stopped";
  #session: SessionInfo | undefined;

  constructor(options: TicketSessionManagerOptions) {
    this.#options = options;
    this.#pollIntervalMs = options.inboxPollIntervalMs ?? INBOX_POLL_INTERVAL_MS;
    this.#heartbeatIntervalMs = options.sessionHeartbeatIntervalMs ?? SESSION_HEARTBEAT_INTERVAL_MS;
    this.#retryDelayMs = options.inboxRetryDelayMs ?? INBOX_RETRY_DELAY_MS;
    this.#maxFailures = options.maxConsecutiveHeartbeatFailures ?? MAX_CONSECUTIVE_HEARTBEAT_FAILURES;
    this.#minTtlMs = options.minTicketTtlMs ?? MIN_TICKET_TTL_MS;
  }

  /** Begins to look into the inbox. Does nothing where it was started already. */
  async start(): Promise<void> {
    if (this.#run) return;
    const run: Run = { stopping: new AbortController(), ended: Promise.resolve() };
    this.#run = run;
    run.ended = this.#live(run.stopping.signal);
  }

  /** Ends every timer and every call under way. The session is left to the gateway, which ends it in ten minutes. */
  async stop(): Promise<void> {
    const run = this.#run;
    if (!run) return;
    this.#run = undefined;
    run.stopping.abort();
    this.#session = undefined;
    this.#tell("stopped");
    await run.ended;
  }

  /** Tells whether the session may be used now. */
  isAuthorized(): boolean {
    return this.#state === "authorized";
  }

  /** Gives the state; `stopped` before the first start. */
  getState(): SessionState {
    return this.#state;
  }

  /** Gives the id of the session that is authorized or in grace, and null otherwise. */
  getSessionId(): string | null {
    return this.#session?.sessionId ?? null;
  }

  /** Gives the session that is authorized or in grace as the gateway opened it, and null otherwise. */
  getSessionInfo(): SessionInfo | null {
    return this.#session ?? null;
  }

  async #live(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        this.#enter("waiting", signal);
        const session = await this.#await(signal);
        signal.throwIfAborted();
        this.#session = session;
        this.#enter("authorized", signal);
        const reason = await this.#keep(session.sessionId, signal);
        signal.throwIfAborted();
        this.#session = undefined;
        this.#enter("terminated", signal, reason);
        await pause(this.#pollIntervalMs, signal);
      }
    } catch (error) {
      // Nothing else gets here: what the gateway refuses is tried again.
      if (!signal.aborted) throw error;
    }
  }

  /** Looks into the inbox until a ticket has opened a session. */
  async #await(signal: AbortSignal): Promise<SessionInfo> {
    const { ticketClient, logger } = this.#options;
    for (;;) {
      let delayMs = this.#pollIntervalMs;
      try {
        const ticket = this.#freshest(await ticketClient.fetchInbox({ signal }));
        if (ticket) return await this.#use(ticket, signal);
      } catch (err) {
        signal.throwIfAborted();
        logger.warn({ err }, "no session yet: the inbox or its ticket failed");
        delayMs = this.#retryDelayMs;
      }
      await pause(delayMs, signal);
    }
  }

  /** Finds the ticket of our scope that ends last, if it lives long enough to be used. */
  #freshest(inbox: TicketInboxEntry[]): TicketInboxEntry | undefined {
    const { scope } = this.#options;
    const soonest = Date.now() + this.#minTtlMs;
    const end = (ticket: TicketInboxEntry) => Date.parse(ticket.expiresAt);
    const usable = inbox.filter((ticket) => ticket.scope === scope && end(ticket) >= soonest);
    return usable.sort((one, other) => end(other) - end(one))[0];
  }

  async #use(ticket: TicketInboxEntry, signal: AbortSignal): Promise<SessionInfo> {
    const { ticketClient, logger } = this.#options;
    await ticketClient.validateTicket(ticket.id, { signal });
    const { session } = await ticketClient.reportSessionCreation(ticket.id, { signal });
    logger.info({ "session.id": session.sessionId, "session.source": session.source }, "the session is open");
    return session;
  }

  /** Sends heartbeats until the session is over; gives the reason. */
  async #keep(sessionId: string, signal: AbortSignal): Promise<TerminationReason | undefined> {
    const { logger } = this.#options;
    let failures = 0;
    for (;;) {
      // A grace that the gateway was told of lasts a minute: whether it is over is asked sooner.
      const isGrace = this.#state === "grace";
      await pause(
        isGrace ? Math.min(this.#retryDelayMs, this.#heartbeatIntervalMs) : this.#heartbeatIntervalMs,
        signal,
      );
      try {
        const answer = await this.#hear(sessionId, signal);
        if (!answer.authorized) return answer.reason;
        failures = 0;
      } catch (err) {
        signal.throwIfAborted();
        if (isNotFound(err)) return "not_found";
        if (isUnauthorized(err)) return "unauthorized";
        failures += 1;
        logger.warn({ err, "session.id": sessionId, failures }, "the gateway did not take the session's heartbeat");
        if (failures === this.#maxFailures) await this.#beginGrace(sessionId, signal);
      }
    }
  }

  async #hear(sessionId: string, signal: AbortSignal) {
    const { ticketClient } = this.#options;
    const answer = await ticketClient.sendSessionHeartbeat(sessionId, { signal });
    if (answer.authorized && this.#state === "grace") {
      // A heartbeat alone does not end the grace that the gateway may have been told of.
      await ticketClient.updateSessionStatus(sessionId, "active", { signal });
      this.#enter("authorized", signal);
    }
    return answer;
  }

  async #beginGrace(sessionId: string, signal: AbortSignal): Promise<void> {
    const { ticketClient, logger } = this.#options;
    this.#enter("grace", signal);
    try {
      await ticketClient.updateSessionStatus(sessionId, "grace", { signal });
    } catch (err) {
      signal.throwIfAborted();
      logger.debug({ err, "session.id": sessionId }, "the gateway was not told of the grace");
    }
  }

  /** Goes on to a state, unless it was stopped: then nothing but `stopped` is told any more. */
  #enter(state: SessionState, signal: AbortSignal, reason?: TerminationReason): void {
    signal.throwIfAborted();
    this.#tell(state, reason);
  }

  #tell(state: SessionState, reason?: TerminationReason): void {
    const { logger, onStateChange } = this.#options;
    this.#state = state;
    logger.info({ state, reason }, "the session's state changed");
    try {
      if (reason === undefined) onStateChange?.(state);
      else onStateChange?.(state, reason);
    } catch (err) {
      logger.error({ err, state }, "onStateChange threw");
    }
  }
}
