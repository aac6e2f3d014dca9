import { type ApiError, api, take } from "../api/client";
import { asApiError } from "../api/list.svelte";

export interface Ask {
  command: string;
  parameters: Record<string, string | boolean>;
  targets: string[];
  timeout: number | null;
  /** Names this very wish: sent again after a lost answer, it makes no second job. */
  key: string;
}

export interface Started {
  /** The jobs by their machines' labels. */
  jobs: Map<string, string>;
  /** Why there is none on a machine. */
  refused: Map<string, ApiError>;
}

const AT_ONCE = 4; // a browser opens six connections to a gateway without HTTP/2, and one is the stream of changes

/** Runs a template on each machine. What the first one's values are refused for is not sent to the others. */
export async function run(ask: Ask): Promise<Started> {
  const started: Started = { jobs: new Map(), refused: new Map() };
  const [first, ...others] = ask.targets;
  if (first === undefined) return started;
  await runOn(ask, first, started);
  if (started.refused.get(first)?.code === "job.parameters") return started;
  const waiting = [...others];
  const worker = async () => {
    for (let label = waiting.shift(); label !== undefined; label = waiting.shift()) await runOn(ask, label, started);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return started;
}

/** A name that nobody else makes; also where the page has no secure context. */
export function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function runOn({ command, parameters, timeout, key }: Ask, target: string, started: Started): Promise<void> {
  try {
    const body = { command, parameters: parameters as never, target, timeout, idempotency_key: `${key}-${target}` };
    const { job_id } = await take(api.POST("/execute", { body }));
    started.jobs.set(target, job_id);
  } catch (error) {
    started.refused.set(target, asApiError(error));
  }
}
