import type { Certificate } from "../api/types";

export type Tone = "good" | "warn" | "bad" | "off";

/** How a certificate stands, in a shape and a word. */
export function standing(status: string): { tone: Tone; label: string } {
  return STANDINGS[status] ?? { tone: "off", label: status };
}

const STANDINGS: Record<string, { tone: Tone; label: string }> = {
  valid: { tone: "good", label: "Valid" },
  expiring: { tone: "warn", label: "Ends soon" },
  expired: { tone: "off", label: "Ended" },
  revoked: { tone: "bad", label: "Revoked" },
};

/** Whether a certificate still opens something, and so can be revoked. */
export function counts(certificate: Certificate): boolean {
  return certificate.status === "valid" || certificate.status === "expiring";
}

/** Whose a certificate is, and what for. */
export function holder({ name, machineId }: Pick<Certificate, "name" | "machineId">): { who: string; what: string } {
  const [kind, first = "", second = ""] = name.split(":");
  if (kind === "plugin-agent") return { who: second, what: `speaks for ${first}` };
  if (kind === "admin") return { who: "admin", what: "an operator" };
  return { who: first, what: machineId ? "machine" : "program" };
}

/** Who had a certificate issued, or how it came to be. */
export function issuedBy({ name, issuedBy }: Pick<Certificate, "name" | "issuedBy">): string {
  if (issuedBy === "enrolment") return "at enrolment";
  if (issuedBy === name) return "renewed by itself";
  return issuedBy.startsWith("user:") ? `by ${issuedBy.slice("user:".length)}` : `by ${issuedBy}`;
}

/** A serial number as lists show it. */
export function short(serial: string): string {
  return serial.length > SHOWN ? `${serial.slice(0, SHOWN)}…` : serial;
}

const SHOWN = 10;
