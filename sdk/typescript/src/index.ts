/** Tickets between machines: `TicketInstanceManager` for the source, `TicketSessionManager` for the target. */

export type {
  IssuedTicket,
  RegisterInstanceResult,
  ReportSessionCreationResult,
  RequestTicketResult,
  SessionHeartbeatResult,
  SessionInfo,
  SessionStatus,
  TerminationReason,
  TicketInboxEntry,
  TicketValidationResult,
  TransportConfig,
  TransportInfo,
  TransportStrategy,
} from "./answer.js";
export { type CallOptions, TicketClient, type TicketClientOptions } from "./client.js";
export {
  type CreateTicketDispatcherOptions,
  createTicketDispatcher,
  type P12CertConfig,
  type PemCertConfig,
  type TicketCertConfig,
} from "./dispatcher.js";
export { TicketHttpError, TicketResponseError } from "./error.js";
export { TicketInstanceManager, type TicketInstanceManagerOptions } from "./instance.js";
export type { TicketLogger } from "./logger.js";
export {
  type SessionState,
  type TicketSessionCalls,
  TicketSessionManager,
  type TicketSessionManagerOptions,
} from "./session.js";
