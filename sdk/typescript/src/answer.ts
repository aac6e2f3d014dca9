/** What the gateway answers, and how it is read: each field is looked at, and what is not known is left out. */

import { TicketResponseError } from "./error.js";

const STRATEGIES = ["tunnel", "relay", "direct"] as const;
const STATUSES = ["active", "grace", "dead"] as const;

/** A way from the target to the source. */
export type TransportStrategy = (typeof STRATEGIES)[number];

/** How a source wants to be reached. */
export interface TransportConfig {
  readonly strategies: readonly TransportStrategy[];
  /** The one to try first. */
  readonly preferred?: TransportStrategy;
  /** Where machines dial the source, for `direct`. */
  readonly direct?: { readonly host: string; readonly port: number };
}

/** How an instance is reached: the strategies that its scope allows, the one to try first in front. */
export interface TransportInfo extends TransportConfig {
  /** Networks that may be dialled though they are not public. */
  readonly allowedNetworks?: readonly string[];
}

/** An instance that was registered. */
export interface RegisterInstanceResult {
  readonly ok: true;
  readonly instanceId: string;
  /** `scope:instanceId`, as assignments name it. */
  readonly instanceScope: string;
}

/** A ticket as its source gets it. */
export interface IssuedTicket {
  /** Its secret: whoever is the target and shows it is let in once. */
  readonly id: string;
  readonly scope: string;
  readonly instanceId: string;
  readonly source: string;
  readonly target: string;
  readonly expiresAt: string;
}

/** What a source gets for its request. */
export interface RequestTicketResult {
  readonly ok: true;
  readonly ticket: IssuedTicket;
}

/** A ticket as its target finds it. */
export interface TicketInboxEntry extends IssuedTicket {
  readonly transport: TransportInfo;
}

/** What a used ticket lets in to. */
export interface TicketValidationResult {
  readonly valid: true;
  readonly scope: string;
  readonly instanceId: string;
  readonly source: string;
  readonly target: string;
  readonly transport: TransportInfo;
}

/** How a session stands. */
export type SessionStatus = (typeof STATUSES)[number];

/**
 * Why a session is over. Two are said by this package: `not_found` when the gateway does not know the session any more, and
 * `unauthorized` when it does not take the machine's certificate any more.
 */
export type TerminationReason =
  | "admin_killed"
  | "source_revoked"
  | "capability_removed"
  | "target_revoked"
  | "assignment_removed"
  | "grace_expired"
  | "inactive"
  | "restored"
  | "not_found"
  | "unauthorized"
  | (string & Record<never, never>);

/** A session between two machines. */
export interface SessionInfo {
  readonly sessionId: string;
  readonly ticketId: string;
  readonly scope: string;
  readonly instanceId: string;
  readonly source: string;
  readonly target: string;
  readonly createdAt: string;
  readonly lastActivityAt: string;
  readonly status: SessionStatus;
  readonly reconnectGraceSeconds: number;
}

/** What a target gets for the session that it reports. */
export interface ReportSessionCreationResult {
  readonly ok: true;
  readonly session: SessionInfo;
}

/** Whether a session may go on. */
export interface SessionHeartbeatResult {
  readonly authorized: boolean;
  /** Why not. */
  readonly reason?: TerminationReason;
}

/** The fields of one object of an answer. Each reader throws a {@link TicketResponseError} that names the field. */
export class Fields {
  readonly #fields: Record<string, unknown>;
  readonly #name: string;

  /** @param name What the object is called in an error. */
  constructor(value: unknown, name: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new TicketResponseError(`${name} is no object`);
    }
    this.#fields = value as Record<string, unknown>;
    this.#name = name;
  }

  has(field: string): boolean {
    return this.#fields[field] !== undefined && this.#fields[field] !== null;
  }

  text(field: string): string {
    const value = this.#fields[field];
    return typeof value === "string" && value !== "" ? value : this.#refuse(field, "a text");
  }

  number(field: string): number {
    const value = this.#fields[field];
    return typeof value === "number" ? value : this.#refuse(field, "a number");
  }

  flag(field: string): boolean {
    const value = this.#fields[field];
    return typeof value === "boolean" ? value : this.#refuse(field, "true or false");
  }

  yes(field: string): true {
    return this.#fields[field] === true ? true : this.#refuse(field, "true");
  }

  time(field: string): string {
    const value = this.#fields[field];
    return typeof value === "string" && !Number.isNaN(Date.parse(value)) ? value : this.#refuse(field, "a time");
  }

  texts(field: string): string[] {
    const value = this.#fields[field];
    const isRight = Array.isArray(value) && value.every((one) => typeof one === "string");
    return isRight ? value : this.#refuse(field, "a list of texts");
  }

  word<Word extends string>(field: string, words: readonly Word[]): Word {
    const value = this.#fields[field];
    return words.find((word) => word === value) ?? this.#refuse(field, `one of ${words.join(", ")}`);
  }

  object(field: string): Fields {
    return new Fields(this.#fields[field], `${this.#name}.${field}`);
  }

  objects(field: string): Fields[] {
    const value = this.#fields[field];
    if (!Array.isArray(value)) return this.#refuse(field, "a list");
    return value.map((one, index) => new Fields(one, `${this.#name}.${field}[${index}]`));
  }

  #refuse(field: string, wanted: string): never {
    throw new TicketResponseError(`${this.#name}.${field} is not ${wanted}`);
  }
}

export function readInstance(answer: Fields): RegisterInstanceResult {
  return { ok: answer.yes("ok"), instanceId: answer.text("instanceId"), instanceScope: answer.text("instanceScope") };
}

export function readTicketAnswer(answer: Fields): RequestTicketResult {
  return { ok: answer.yes("ok"), ticket: readTicket(answer.object("ticket")) };
}

function readTicket(ticket: Fields): IssuedTicket {
  return { id: ticket.text("id"), ...readEnds(ticket), expiresAt: ticket.time("expiresAt") };
}

export function readInboxEntry(ticket: Fields): TicketInboxEntry {
  return { ...readTicket(ticket), transport: readTransport(ticket.object("transport")) };
}

export function readValidation(answer: Fields): TicketValidationResult {
  return { valid: answer.yes("valid"), ...readEnds(answer), transport: readTransport(answer.object("transport")) };
}

export function readSessionAnswer(answer: Fields): ReportSessionCreationResult {
  return { ok: answer.yes("ok"), session: readSession(answer.object("session")) };
}

export function readSession(session: Fields): SessionInfo {
  return {
    sessionId: session.text("sessionId"),
    ticketId: session.text("ticketId"),
    ...readEnds(session),
    createdAt: session.time("createdAt"),
    lastActivityAt: session.time("lastActivityAt"),
    status: session.word("status", STATUSES),
    reconnectGraceSeconds: session.number("reconnectGraceSeconds"),
  };
}

export function readHeartbeat(answer: Fields): SessionHeartbeatResult {
  const authorized = answer.flag("authorized");
  return answer.has("reason") ? { authorized, reason: answer.text("reason") } : { authorized };
}

function readEnds(from: Fields) {
  return {
    scope: from.text("scope"),
    instanceId: from.text("instanceId"),
    source: from.text("source"),
    target: from.text("target"),
  };
}

function readTransport(transport: Fields): TransportInfo {
  const direct = transport.has("direct") ? transport.object("direct") : undefined;
  const preferred = transport.has("preferred")
    ? STRATEGIES.find((one) => one === transport.text("preferred"))
    : undefined;
  return {
    // A way that a later gateway knows is none that this package's user could take.
    strategies: transport.texts("strategies").filter(isStrategy),
    ...(preferred && { preferred }),
    ...(direct && { direct: { host: direct.text("host"), port: direct.number("port") } }),
    ...(transport.has("allowedNetworks") && { allowedNetworks: transport.texts("allowedNetworks") }),
  };
}

function isStrategy(word: string): word is TransportStrategy {
  return STRATEGIES.some((one) => one === word);
}
