// One viewer's connection to one session: ticket, socket, what is typed, what is shown, and coming back after a loss.
// It knows no terminal and no page. The path of a key:
//   1. pane.svelte.ts   xterm gives what was typed
//   2. input.ts         numbers it and keeps it until the machine has it
//   3. connection.ts    sends it on the socket that is open, or on the next one
// The path of a byte of output: connection.ts → output.ts (count) → pane.svelte.ts (xterm) → acknowledged from here.
import type { Ended, FromGateway, Participant } from "../generated/adit/terminal/v1/terminal_pb";
import { decodeFrame, decodeMessage, encodeFrame, encodeMessage, MESSAGE, OUTPUT, type ViewerMessage } from "./frame";
import { InputQueue } from "./input";
import { OutputCount } from "./output";

export type Target = { machine: string } | { session: string };
export type Mode = "control" | "view";

export interface Ending {
  code: string;
  sentence: string;
  exitStatus?: number | undefined;
  signal?: string | undefined;
}

export type Status =
  | { kind: "connecting" }
  | { kind: "live"; latencyMs: number | null }
  | { kind: "reconnecting"; since: number; sentence: string }
  | { kind: "ended"; ending: Ending };

export interface Admission {
  sessionId: string;
  machine: string;
  capabilities: string[];
  endsAt: number;
  recording: string;
}

/** What a connection tells its screen. */
export interface Screen {
  size(): { cols: number; rows: number };
  /** Shows output, and calls `shown` once it is on the screen. */
  write(bytes: Uint8Array, shown: () => void): void;
  /** Replaces everything by a screen of the given size. */
  restore(screen: Uint8Array, cols: number, rows: number, shown: () => void): void;
  resized(cols: number, rows: number): void;
  admitted(admission: Admission): void;
  participants(list: Participant[]): void;
  notice(code: string, sentence: string): void;
  status(status: Status): void;
}

/** What opens one connection. */
export interface Ticket {
  ticket: string;
  url: string;
  /** The proof of its key; empty: it is bound to none. */
  proof: string;
}

/** What a connection needs of its surroundings. */
export interface World {
  /** Asks for a ticket, and proves the key that it is bound to. Throws `Refused` when asking again is useless. */
  ticket(target: Target, mode: Mode): Promise<Ticket>;
  open(url: string): WebSocket;
  now(): number;
  /** The wall clock, which goes on while the computer sleeps. */
  wall(): number;
  random(): number;
}

/** The gateway's last word: this session can't be opened by this person, now or later. */
export class Refused extends Error {
  readonly code: string;

  constructor(code: string, sentence: string) {
    super(sentence);
    this.code = code;
  }
}

export class Connection {
  readonly input = new InputQueue();
  readonly output = new OutputCount();
  #world: World;
  #screen: Screen;
  #target: Target;
  #mode: Mode;
  #socket: WebSocket | null = null;
  #admitted = false;
  #mayType = false;
  #ended = false;
  #writer: Uint8Array = new Uint8Array();
  #graceMs = 60_000; // the gateway's usual one; it says its own
  #turn = 0;
  #failures = 0;
  #lostAt: number | null = null;
  #pausedUntil = 0;
  #pings = new Map<bigint, number>();
  #nonce = 0n;
  #timers = new Map<string, ReturnType<typeof setTimeout>>();
  /** When the timer of that name acknowledges what is shown. */
  #acknowledgeAt = 0;

  constructor(world: World, screen: Screen, target: Target, mode: Mode) {
    [this.#world, this.#screen, this.#target, this.#mode] = [world, screen, target, mode];
  }

  /** Opens the session, and comes back to it by itself until it ends. */
  start(): void {
    this.#screen.status({ kind: "connecting" });
    void this.#connect();
  }

  /** Types: kept until the machine has it, whatever happens to the connection. */
  type(bytes: Uint8Array): void {
    if (this.#ended || this.#mode === "view" || (this.#admitted && !this.#mayType)) return;
    this.input.push(bytes, this.#world.wall());
    this.#pump();
  }

  resize(cols: number, rows: number): void {
    if (this.#mayType) this.#say({ case: "resize", value: { cols, rows } });
  }

  /** Ends the session for everybody. */
  end(): void {
    this.#say({ case: "end", value: {} });
  }

  /** Leaves; the shell goes on. */
  detach(): void {
    this.#say({ case: "detach", value: {} });
    this.#finish({ code: "viewer.left", sentence: "You left this session. It goes on without you." });
  }

  /** Drops the connection without a word, as closing the page does. */
  close(): void {
    this.#ended = true;
    this.#drop(1000);
  }

  /** Tries now instead of waiting: the network came back, or the page was shown again. */
  nudge(): void {
    if (this.#ended) return;
    if (this.#socket && this.#admitted) this.#ping(NUDGE_WAIT_MS);
    else if (this.#timers.has("retry")) this.#after("retry", 0, () => void this.#connect());
  }

  async #connect(): Promise<void> {
    const turn = ++this.#turn;
    try {
      const ticket = await this.#world.ticket(this.#target, this.#mode);
      if (turn !== this.#turn || this.#ended) return;
      this.#redeem(this.#world.open(ticket.url), ticket);
    } catch (error) {
      if (turn !== this.#turn || this.#ended) return;
      if (error instanceof Refused) this.#finish({ code: error.code, sentence: error.message });
      else this.#lost(error instanceof Error ? error.message : "The gateway doesn't answer.");
    }
  }

  #redeem(socket: WebSocket, { ticket, proof }: Ticket): void {
    this.#socket = socket;
    this.#admitted = false;
    socket.binaryType = "arraybuffer";
    this.#after("handshake", HANDSHAKE_WAIT_MS, () => this.#abandon("The gateway took too long to answer."));
    socket.onopen = () => {
      // What waits too long must not arrive any more, so another writer goes on.
      if (this.input.isOlderThan(this.#oldest())) this.#writer = new Uint8Array();
      const resume = this.output.next === null ? {} : { outputPosition: BigInt(this.output.next) };
      const writer = { writer: this.#writer, inputPosition: BigInt(this.input.acknowledged) };
      this.#say({ case: "redeem", value: { ticket, proof, ...this.#screen.size(), ...resume, ...writer } });
    };
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#receive(new Uint8Array(event.data as ArrayBuffer));
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#closed(event.code, event.reason);
    };
  }

  #receive(bytes: Uint8Array): void {
    try {
      const frame = decodeFrame(bytes);
      if (frame.kind === MESSAGE) this.#hear(decodeMessage(frame.message));
      else if (frame.kind !== OUTPUT) throw new Error(`frame of kind ${frame.kind} from a terminal's gateway`);
      else this.#show(frame.position, frame.bytes);
    } catch (error) {
      this.#abandon(error instanceof Error ? error.message : "The gateway sent something unreadable.");
    }
  }

  #hear(message: FromGateway["message"]): void {
    switch (message.case) {
      case "admitted": {
        const admitted = message.value;
        if (admitted.graceMs > 0n) this.#graceMs = Number(admitted.graceMs);
        const sameWriter = equal(this.#writer, admitted.writer);
        if (sameWriter) this.input.rewind(Number(admitted.inputPosition));
        else this.#newWriter(Number(admitted.inputPosition));
        this.#writer = admitted.writer;
        this.#mayType = this.#mode === "control" && admitted.capabilities.includes("input");
        this.#target = { session: admitted.sessionId };
        this.#screen.admitted({
          sessionId: admitted.sessionId,
          machine: admitted.machineLabel,
          capabilities: admitted.capabilities,
          endsAt: Number(admitted.endsAtMs),
          recording: admitted.recording,
        });
        this.#arrived();
        break;
      }
      case "snapshot": {
        const { position, cols, rows, screen } = message.value;
        this.output.begin(Number(position));
        this.#screen.restore(screen, cols, rows, () => {});
        break;
      }
      case "resized":
        this.#screen.resized(message.value.cols, message.value.rows);
        break;
      case "inputAck":
        this.input.acknowledge(Number(message.value.position));
        this.#pump();
        break;
      case "inputRewind":
        this.#pause(Number(message.value.position), message.value.retryAfterMs);
        break;
      case "state":
        this.#state(message.value.kind, message.value.sentence);
        break;
      case "participants":
        this.#screen.participants(message.value.list);
        break;
      case "notice":
        this.#screen.notice(message.value.code, message.value.sentence);
        break;
      case "ended":
        // The close that follows brings a new attempt.
        if (!isPassing(message.value.code, this.#target)) this.#finish(endingOf(message.value));
        break;
      case "pong":
        this.#ponged(message.value.nonce);
        break;
    }
  }

  /** What an earlier writer had under way may have arrived or not; typing it twice would be worse than asking. */
  #newWriter(position: number): void {
    if (this.input.isOlderThan(this.#oldest())) {
      this.input.forget(this.#oldest(), position);
      this.#screen.notice("input.old", "Keys from before the break were too old and were dropped.");
      return;
    }
    const uncertain = this.input.renumber(position);
    if (uncertain > 0) this.#screen.notice("input.uncertain", "The last keys before the break may not have arrived.");
  }

  /** When keys must have been typed to be sent now: the screen of an hour ago is not the one that they would meet. */
  #oldest(): number {
    return this.#world.wall() - this.#graceMs;
  }

  #arrived(): void {
    this.#admitted = true;
    this.#failures = 0;
    this.#lostAt = null;
    this.#pausedUntil = 0;
    this.#pings.clear();
    this.#stop("handshake");
    this.#screen.status({ kind: "live", latencyMs: null });
    this.#ping(PONG_WAIT_MS);
    this.#pump();
  }

  #state(kind: number, sentence: string): void {
    if (kind === STATE_LIVE) {
      this.#lostAt = null;
      this.#screen.status({ kind: "live", latencyMs: null });
    } else if (kind === STATE_RECONNECTING) {
      this.#lostAt ??= this.#world.now();
      this.#screen.status({ kind: "reconnecting", since: this.#lostAt, sentence });
    } else {
      this.#screen.status({ kind: "connecting" });
    }
  }

  #show(position: number, bytes: Uint8Array): void {
    const fresh = this.output.take(position, bytes);
    const after = this.output.next ?? 0;
    if (fresh.length === 0) return;
    this.#screen.write(fresh, () => {
      if (this.output.show(after)) this.#acknowledge();
      else this.#acknowledgeWithin(this.output.acknowledgeWithinMs);
    });
  }

  /** Acknowledges after a time at the latest; an earlier time that was set stays. */
  #acknowledgeWithin(ms: number): void {
    const at = performance.now() + ms;
    if (this.#timers.has("ack") && this.#acknowledgeAt <= at) return;
    this.#acknowledgeAt = at;
    this.#stop("ack");
    this.#after("ack", ms, () => this.#acknowledge());
  }

  #acknowledge(): void {
    this.#stop("ack");
    const position = this.output.acknowledge();
    if (position !== null) this.#say({ case: "outputAck", value: { position: BigInt(position) } });
  }

  #pause(position: number, waitMs: number): void {
    this.input.rewind(position);
    this.#pausedUntil = this.#world.now() + waitMs;
    this.#after("resume", waitMs, () => {
      this.#pausedUntil = 0;
      this.#pump();
    });
  }

  #pump(): void {
    if (!this.#admitted || !this.#mayType || this.#pausedUntil > 0) return;
    for (let frame = this.input.next(); frame; frame = this.input.next()) this.#socket?.send(encodeFrame(frame));
  }

  #say(message: ViewerMessage): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(encodeMessage(message));
  }

  #ping(waitMs: number): void {
    const nonce = ++this.#nonce;
    this.#pings.set(nonce, this.#world.now());
    this.#say({ case: "ping", value: { nonce } });
    this.#after("pong", waitMs, () => this.#abandon("The gateway stopped answering."));
  }

  #ponged(nonce: bigint): void {
    const sentAt = this.#pings.get(nonce);
    if (sentAt === undefined) return;
    this.#pings.clear();
    this.#stop("pong");
    const latencyMs = Math.max(1, Math.round(this.#world.now() - sentAt));
    if (this.#lostAt === null) this.#screen.status({ kind: "live", latencyMs });
    this.#after("ping", PING_EVERY_MS, () => this.#ping(PONG_WAIT_MS));
  }

  #closed(code: number, reason: string): void {
    this.#drop(code);
    if (this.#ended) return;
    const final = FINAL_CLOSES.get(code);
    if (final && !isPassing(reason, this.#target))
      this.#finish({ code: reason || final.code, sentence: final.sentence });
    else this.#lost(LOST_SENTENCES.get(code) ?? "The connection to the gateway was lost.");
  }

  #abandon(sentence: string): void {
    this.#drop(ABANDONED);
    this.#lost(sentence);
  }

  #lost(sentence: string): void {
    if (this.#ended) return;
    this.#lostAt ??= this.#world.now();
    this.#screen.status({ kind: "reconnecting", since: this.#lostAt, sentence });
    const longest = Math.min(FIRST_RETRY_MS * 2 ** Math.min(this.#failures++, 10), LAST_RETRY_MS);
    // Many viewers of a gateway that restarts must not come back in one moment.
    this.#after("retry", longest * (0.5 + this.#world.random() / 2), () => void this.#connect());
  }

  #finish(ending: Ending): void {
    this.#ended = true;
    this.#screen.status({ kind: "ended", ending });
    this.#drop(1000);
  }

  #drop(code: number): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#admitted = false;
    for (const timer of [...this.#timers.keys()]) this.#stop(timer);
    if (socket && socket.readyState <= OPEN) socket.close(code === 1000 ? 1000 : ABANDONED);
  }

  #after(name: string, ms: number, action: () => void): void {
    this.#stop(name);
    const run = () => {
      this.#timers.delete(name);
      action();
    };
    this.#timers.set(name, setTimeout(run, ms));
  }

  #stop(name: string): void {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

/** Whether a refusal passes by itself: the session may well be there in a moment. */
export function isPassing(code: string, target: Target): boolean {
  return PASSING_CODES.has(code) || (code === "target.offline" && "session" in target);
}

function endingOf(ended: Ended): Ending {
  const { code, sentence, exitStatus, signal } = ended;
  return { code, sentence, exitStatus, signal: signal || undefined };
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length > 0 && a.length === b.length && a.every((byte, at) => byte === b[at]);
}

const PASSING_CODES = new Set(["gateway.restarting", "store.unavailable", "too_many", "auth.limited", "rate_limited"]);
const OPEN = 1;
const ABANDONED = 4000; // a close code of ours: the viewer gave this connection up and comes back
const STATE_LIVE = 2;
const STATE_RECONNECTING = 3;
const HANDSHAKE_WAIT_MS = 10_000; // the gateway's own deadline for the first frame
const PING_EVERY_MS = 5000;
const PONG_WAIT_MS = 10_000;
const NUDGE_WAIT_MS = 2500;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;

const FINAL_CLOSES = new Map([
  [1000, { code: "session.ended", sentence: "The session ended." }],
  [1008, { code: "session.refused", sentence: "You may not use this session any more." }],
  [1011, { code: "target.failed", sentence: "The machine could not open the shell." }],
]);

const LOST_SENTENCES = new Map([
  [1012, "The gateway restarts."],
  [1013, "The gateway is busy."],
]);
