import type { Instance, MachineSession, MachineTicket } from "../api/types";
import { duration } from "../app/words";

export type Tone = "good" | "warn" | "bad" | "off";

export interface Standing {
  tone: Tone;
  label: string;
}

/** How an instance, a ticket or a session stands, in a shape and a word. */
export function standing(status: string): Standing {
  return STANDINGS[status] ?? { tone: "off", label: status };
}

const STANDINGS: Record<string, Standing> = {
  active: { tone: "good", label: "Active" },
  stale: { tone: "warn", label: "Stale" },
  grace: { tone: "warn", label: "In grace" },
  issued: { tone: "good", label: "Issued" },
  used: { tone: "off", label: "Used" },
  expired: { tone: "off", label: "Expired" },
  revoked: { tone: "bad", label: "Revoked" },
};

const OVER: Standing = { tone: "off", label: "Over" };
const DEAD: Standing = { tone: "bad", label: "Dead" };

export function instanceStanding({ status }: Pick<Instance, "status">): Standing {
  return status === "dead" ? DEAD : standing(status);
}

export function sessionStanding({ status }: Pick<MachineSession, "status">): Standing {
  return status === "dead" ? OVER : standing(status);
}

export function lives({ status }: Pick<MachineSession, "status">): boolean {
  return status !== "dead";
}

/** Why a session is over. */
export function why(reason: string | null | undefined): string {
  return reason ? (REASONS[reason] ?? reason) : "";
}

const REASONS: Record<string, string> = {
  admin_killed: "An operator ended it",
  source_revoked: "The source was revoked, or not heard of for five minutes",
  capability_removed: "One of both ends lost the capability",
  target_revoked: "The target was revoked",
  assignment_removed: "The assignment or the instance was removed",
  grace_expired: "Nobody came back within 60 seconds",
  inactive: "No word from either end for ten minutes",
  restored: "The gateway’s database came from a backup",
};

/** Who an end is: a machine by its label, and whoever speaks for one by name. */
export function peer(label: string): string {
  const [kind, machine, name] = label.split(":");
  return kind === "plugin-agent" && machine && name ? `${name} for ${machine}` : label;
}

/** How an instance is reached, the way to try first in front. */
export function ways({ strategies, preferred, direct }: Instance["transport"]): string {
  const first = strategies.filter((one) => one === preferred);
  const words = [...first, ...strategies.filter((one) => one !== preferred)];
  return words.map((one) => (one === "direct" && direct ? `direct to ${host(direct)}` : one)).join(", then ");
}

function host({ host, port }: { host: string; port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What becomes of an instance if nothing is done. */
export function instanceNext({ status, lastHeartbeat }: Instance, now: number): string {
  const within = (after: number) => remaining(Date.parse(lastHeartbeat) + after - now);
  if (status === "active") return `stale in ${within(STALE_AFTER_MS)} without a heartbeat`;
  if (status === "stale") return `gets no tickets; removed in ${within(DEAD_AFTER_MS)} without a heartbeat`;
  return "is being removed";
}

/** What becomes of a session if nothing is done. */
export function sessionNext({ status, lastActivityAt, reconnectGraceSeconds }: MachineSession, now: number): string {
  if (status === "grace") return `Over ${reconnectGraceSeconds} s after an end went, unless it comes back.`;
  const left = Date.parse(lastActivityAt) + INACTIVE_AFTER_MS - now;
  return `Over in ${remaining(left)} unless one of both ends is heard of.`;
}

/** A time that is left, in whole minutes: the clock of relative times may be ten seconds behind. */
function remaining(ms: number): string {
  return duration(ms < MINUTE_MS ? ms / 1000 : Math.round(ms / MINUTE_MS) * 60);
}

const MINUTE_MS = 60_000;
const STALE_AFTER_MS = 5 * 60_000; // these three are the gateway's, as docs/tickets.md has them
const DEAD_AFTER_MS = 3_600_000;
const INACTIVE_AFTER_MS = 600_000;
const OPENS_FOR_MS = 60_000; // how long a ticket may open its session after it was used

/** Whether there is something of a ticket that can be taken back. */
export function counts(ticket: MachineTicket, session: MachineSession | undefined, now: number): boolean {
  if (ticket.status === "issued") return true;
  if (ticket.status !== "used") return false;
  return session ? lives(session) : Date.parse(ticket.usedAt ?? "") + OPENS_FOR_MS > now;
}

/** An id as lists show it: its end, because all of one day begin alike. */
export function short(id: string): string {
  return id.length > SHOWN ? `…${id.slice(-SHOWN)}` : id;
}

const SHOWN = 8;

/** "1 instance, 2 assignments and 1 live session"; empty parts are left out, and nothing at all is empty. */
export function among(parts: string[]): string {
  const said = parts.filter(Boolean);
  const last = said.pop() ?? "";
  return said.length > 0 ? `${said.join(", ")} and ${last}` : last;
}
