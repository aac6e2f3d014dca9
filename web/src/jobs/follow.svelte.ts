import { ApiError } from "../api/client";
import type { Job } from "../api/types";
import { type Block, type Stream, Transcript } from "./transcript";

interface Piece {
  stream: Stream;
  position: number;
  base64: string;
}

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10_000; // a gateway that restarts is back sooner, and one that is away is not asked more often

/** Follows what a job writes until it is over; a lost connection goes on where it ended. */
export class Follow {
  blocks = $state.raw<Block[]>([]);
  /** More was written than is shown here. */
  cut = $state(false);
  /** The job as it ended. */
  end = $state.raw<Job | null>(null);
  /** The connection was lost; another is tried. */
  lost = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** The gateway has answered; before, nobody knows whether anything was written. */
  opened = $state(false);
  #id: string;
  #position = 0;
  #transcript = new Transcript();
  #source: EventSource | null = null;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #wait = FIRST_RETRY_MS;
  #drawing: ReturnType<typeof setTimeout> | null = null;

  constructor(id: string) {
    this.#id = id;
  }

  /** Begins to follow; for use in `$effect`. */
  start(): () => void {
    this.#open();
    return () => this.#close();
  }

  again(): void {
    this.error = null;
    this.#open();
  }

  #open(): void {
    const source = new EventSource(`/jobs/${encodeURIComponent(this.#id)}/output?offset=${this.#position}`);
    this.#source = source;
    source.onopen = () => {
      this.lost = false;
      this.opened = true;
    };
    source.onerror = () => void this.#failed(source);
    source.addEventListener("output", (event) => this.#take(JSON.parse(event.data) as Piece));
    source.addEventListener("end", (event) => this.#finish(JSON.parse(event.data) as Job));
  }

  #close(): void {
    this.#source?.close();
    this.#source = null;
    if (this.#retry) clearTimeout(this.#retry);
    if (this.#drawing) clearTimeout(this.#drawing);
    this.#drawing = null;
  }

  #take({ stream, position, base64 }: Piece): void {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const known = Math.max(0, this.#position - position);
    this.#position = Math.max(this.#position, position + bytes.length);
    this.#wait = FIRST_RETRY_MS;
    this.#transcript.push(stream, bytes.subarray(known));
    this.#drawing ??= setTimeout(() => this.#draw(), DRAW_MS);
  }

  #draw(): void {
    this.#drawing = null;
    this.blocks = this.#transcript.blocks();
    this.cut = this.#transcript.cut;
  }

  #finish(job: Job): void {
    this.#close();
    this.#transcript.end();
    this.#draw();
    this.end = job;
    this.lost = false;
  }

  /** The browser would ask for all of it again: the next connection says where this one ended. */
  async #failed(source: EventSource): Promise<void> {
    source.close();
    if (this.#source !== source) return;
    this.lost = true;
    const refusal = await this.#refusal();
    if (this.#source !== source) return;
    if (refusal) {
      this.error = refusal;
      this.lost = false;
      return;
    }
    this.#retry = setTimeout(() => this.#open(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, LAST_RETRY_MS);
  }

  /** An event source does not tell why it failed: asks whether the gateway refuses, which it does for good. */
  async #refusal(): Promise<ApiError | null> {
    const ended = new AbortController();
    try {
      const path = `/jobs/${encodeURIComponent(this.#id)}/output?offset=${this.#position}`;
      const response = await fetch(path, { signal: ended.signal });
      if (response.ok || response.status >= 500 || response.status === 429) return null;
      const { code, detail } = (await response.json()) as { code?: string; detail?: string };
      return new ApiError(response.status, code ?? "job.unreadable", detail ?? "What it wrote can't be read.");
    } catch {
      return null;
    } finally {
      ended.abort();
    }
  }
}

const DRAW_MS = 40; // what comes within is drawn at once; longer than this is felt as lag
