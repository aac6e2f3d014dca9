import { untrack } from "svelte";
import { ApiError } from "./client";
import { live, type Topic } from "./live.svelte";

/** One thing loaded from the gateway, kept fresh by the event stream. */
export class Loaded<T> {
  data = $state.raw<T | null>(null);
  error = $state.raw<ApiError | null>(null);
  #load: () => Promise<T>;
  #turn = 0;

  constructor(load: () => Promise<T>) {
    this.#load = load;
  }

  async load(): Promise<void> {
    const turn = ++this.#turn;
    try {
      const data = await this.#load();
      if (turn === this.#turn) [this.data, this.error] = [data, null];
    } catch (error) {
      if (turn === this.#turn) this.error = asApiError(error);
    }
  }

  /** Loads now and whenever `topic` changes; for use in `$effect`. */
  follow(...topics: Topic[]): () => void {
    untrack(() => void this.load());
    const stops = topics.map((topic) => live.on(topic, () => void this.load()));
    return () => {
      for (const stop of stops) stop();
    };
  }
}

interface Page<T> {
  items: T[];
  next?: string | null | undefined;
}

/** A list that is loaded page by page as it is scrolled. A change reloads as much as is shown. */
export class Paged<T> {
  items = $state.raw<T[] | null>(null);
  error = $state.raw<ApiError | null>(null);
  next = $state.raw<string | null>(null);
  busy = $state(false);
  #load: (cursor: string | undefined, limit: number) => Promise<Page<T>>;
  #turn = 0;

  constructor(load: (cursor: string | undefined, limit: number) => Promise<Page<T>>) {
    this.#load = load;
  }

  async reload(): Promise<void> {
    const shown = Math.min(Math.max(this.items?.length ?? 0, PAGE), MAX_PAGE);
    const turn = ++this.#turn;
    try {
      const page = await this.#load(undefined, shown);
      if (turn === this.#turn) [this.items, this.next, this.error] = [page.items, page.next ?? null, null];
    } catch (error) {
      if (turn === this.#turn) this.error = asApiError(error);
    }
  }

  async more(): Promise<void> {
    if (!this.next || this.busy) return;
    const turn = this.#turn;
    this.busy = true;
    try {
      const page = await this.#load(this.next, PAGE);
      if (turn === this.#turn) [this.items, this.next] = [[...(this.items ?? []), ...page.items], page.next ?? null];
    } catch (error) {
      if (turn === this.#turn) this.error = asApiError(error);
    } finally {
      this.busy = false;
    }
  }

  follow(...topics: Topic[]): () => void {
    untrack(() => void this.reload());
    const stops = topics.map((topic) => live.on(topic, () => void this.reload()));
    return () => {
      for (const stop of stops) stop();
    };
  }
}

/** Loads a list that is never long (machines, people, roles) to its end. */
export async function every<T>(load: (page: { limit: number; cursor?: string }) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  let next: string | null | undefined;
  do {
    const page = await load({ limit: MAX_PAGE, ...(next ? { cursor: next } : {}) });
    items.push(...page.items);
    next = page.next;
  } while (next);
  return items;
}

const PAGE = 100;
const MAX_PAGE = 200; // the most that the gateway gives in one page

export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(-1, "console.failed", error instanceof Error ? error.message : String(error));
}
