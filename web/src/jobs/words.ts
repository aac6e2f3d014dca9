import type { Job } from "../api/types";
import { duration } from "../app/words";
import { writeWish } from "../commands/template";

/** Every state of a job, in the order of its life. */
export const STATES = [
  "awaiting_consent",
  "queued",
  "running",
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "lost",
] as const;

/** The word for a state. */
export function stateWord(status: string): string {
  return WORDS[status] ?? status;
}

const WORDS: Record<string, string> = {
  awaiting_consent: "Awaits consent",
  queued: "Queued",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  timed_out: "Timed out",
  cancelled: "Cancelled",
  lost: "Lost",
};

export function isOver({ status }: Pick<Job, "status">): boolean {
  return status !== "awaiting_consent" && status !== "queued" && status !== "running";
}

/** How a job ended, in a sentence; empty while it has not. */
export function outcome(job: Pick<Job, "status" | "reason" | "signal" | "exit_code">): string {
  if (job.reason) return job.reason.sentence;
  if (job.signal) return `The signal SIG${job.signal} ended it.`;
  if (job.exit_code === null || job.exit_code === undefined) return "";
  return job.exit_code === 0 ? "It ended with exit status 0." : `It ended with exit status ${job.exit_code}.`;
}

/** Who agreed to a job that others must agree to, in a sentence. */
export function agreed({ consents, consents_needed }: Pick<Job, "consents" | "consents_needed">): string {
  const others = consents_needed === 1 ? "Somebody else must agree" : `${consents_needed} others must agree`;
  const names = consents.map((name) => name.replace(/^[a-z]+:/, "")).join(", ");
  return names ? `${others} before it runs; ${names} did.` : `${others} before it runs.`;
}

/** A length of time as short as it is: "30 ms", "1.2 s", "2 min 5 s". */
export function lasted(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  return ms < 9_950 ? `${(ms / 1000).toFixed(1)} s` : duration(ms / 1000);
}

/** The values of a job in a line: "path=/etc sort=size". */
export function filled({ parameters }: Pick<Job, "parameters">): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

/** The address of the form that this job, or these of one template, came from. */
export function again([job, ...others]: Pick<
  Job,
  "command" | "parameters" | "target" | "timeout" | "version"
>[]): string {
  if (!job) return "/commands";
  const values = Object.fromEntries(Object.entries(job.parameters).map(([name, value]) => [name, String(value)]));
  const targets = [job, ...others].map(({ target }) => target.label);
  const wish = { values, targets, timeout: String(job.timeout), version: job.version };
  return `/commands/${encodeURIComponent(job.command)}${writeWish(wish)}`;
}

/** The name of a layer of the sandbox, as a person reads it. */
export function layerWord(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
