/** What the gateway can announce as changed. */
export type Topic =
  | "machines"
  | "sessions"
  | "recordings"
  | "audit"
  | "access"
  | "requests"
  | "support"
  | "tickets"
  | "jobs";

type Listener = () => void;

const GATHER_MS = 250; // a burst of changes becomes one reload; longer than this is felt as lag

/** The one event stream of the console: lists ask to be told when their topic changes. */
class Live {
  /** Whether the stream is open; null before the first attempt has ended. */
  connected = $state<boolean | null>(null);
  #source: EventSource | null = null;
  #listeners = new Map<Topic, Set<Listener>>();
  #due = new Map<Topic, ReturnType<typeof setTimeout>>();
  #retry: ReturnType<typeof setTimeout> | null = null;

  start(): void {
    if (this.#source) return;
    const source = new EventSource("/api/v1/stream");
    this.#source = source;
    source.onopen = () => this.#opened();
    source.onerror = () => this.#failed();
    source.addEventListener("changed", (event) => this.#announce(event.data));
  }

  stop(): void {
    this.#source?.close();
    this.#source = null;
    if (this.#retry) clearTimeout(this.#retry);
    this.connected = null;
  }

  /** Calls `listener` when `topic` changes, and after the stream was lost and found. Returns the way to stop. */
  on(topic: Topic, listener: Listener): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(topic, listeners);
    return () => listeners.delete(listener);
  }

  #opened(): void {
    const wasLost = this.connected === false;
    this.connected = true;
    if (wasLost) for (const topic of this.#listeners.keys()) this.#tell(topic);
  }

  #failed(): void {
    this.connected = false;
    // The browser gives up after an answer that is not an event stream; a restarting gateway gives such answers.
    if (this.#source?.readyState !== EventSource.CLOSED) return;
    this.#source = null;
    this.#retry = setTimeout(() => this.start(), 2000);
  }

  #announce(data: string): void {
    const kind = kindOf(data);
    const topics = kind === "all" ? [...this.#listeners.keys()] : kind ? [kind] : [];
    for (const topic of topics) {
      if (this.#due.has(topic)) continue;
      const tell = setTimeout(() => this.#tell(topic), GATHER_MS);
      this.#due.set(topic, tell);
    }
  }

  #tell(topic: Topic): void {
    this.#due.delete(topic);
    for (const listener of this.#listeners.get(topic) ?? []) listener();
  }
}

export const live = new Live();

function kindOf(data: string): Topic | "all" | null {
  try {
    return (JSON.parse(data) as { kind?: Topic | "all" }).kind ?? null;
  } catch {
    return null;
  }
}
