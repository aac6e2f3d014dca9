// What was typed and is not yet at the machine. Input is numbered by bytes of one writer; the machine acknowledges what it
// wrote to the terminal, or asks to go back (go-back-N).
import { type DataFrame, INPUT, MAX_INPUT_BYTES } from "./frame";

export const MAX_IN_FLIGHT_BYTES = 256 * 1024; // what the gateway is willing to hold for one writer

/** Numbers input, keeps it until it is acknowledged, and says what may be sent now. */
export class InputQueue {
  #chunks: Uint8Array[] = [];
  #times: number[] = []; // when each of #chunks was typed
  #start = 0; // position of the first byte of #chunks
  #end = 0;
  #sent = 0;

  /** Where unacknowledged input begins. */
  get acknowledged(): number {
    return this.#start;
  }

  get waitingBytes(): number {
    return this.#end - this.#start;
  }

  push(bytes: Uint8Array, now: number): void {
    for (let at = 0; at < bytes.length; at += MAX_INPUT_BYTES) {
      this.#chunks.push(bytes.subarray(at, at + MAX_INPUT_BYTES));
      this.#times.push(now);
    }
    this.#end += bytes.length;
  }

  /** Takes the next frame that may be sent, or null while nothing waits or too much is in flight. */
  next(): DataFrame | null {
    const room = Math.min(this.#start + MAX_IN_FLIGHT_BYTES - this.#sent, MAX_INPUT_BYTES);
    if (room <= 0 || this.#sent === this.#end) return null;
    const bytes = this.#read(this.#sent, room);
    const frame: DataFrame = { kind: INPUT, position: this.#sent, bytes };
    this.#sent += bytes.length;
    return frame;
  }

  /** The machine wrote everything before `position`. */
  acknowledge(position: number): void {
    const upTo = Math.min(position, this.#end);
    while (this.#chunks[0] && this.#start < upTo) {
      const take = Math.min(this.#chunks[0].length, upTo - this.#start);
      if (take === this.#chunks[0].length) {
        this.#chunks.shift();
        this.#times.shift();
      } else this.#chunks[0] = this.#chunks[0].subarray(take);
      this.#start += take;
    }
    this.#sent = Math.max(this.#sent, this.#start);
  }

  /** Sends again from `position`; what lies before it arrived. */
  rewind(position: number): void {
    this.acknowledge(position);
    this.#sent = Math.max(this.#start, Math.min(position, this.#sent));
  }

  /**
   * Goes on as a new writer from `position` with what was not sent yet. Returns how many bytes were sent and never
   * acknowledged: those are given up.
   */
  renumber(position: number): number {
    const uncertain = this.#sent - this.#start;
    this.acknowledge(this.#sent);
    this.#end = position + this.waitingBytes;
    this.#start = position;
    this.#sent = position;
    return uncertain;
  }

  /** Whether something waits that was typed before a time. */
  isOlderThan(time: number): boolean {
    return this.#times[0] !== undefined && this.#times[0] < time;
  }

  /** Goes on as a new writer from `position` with what was typed since a time; what is older, or was sent, is given up. */
  forget(time: number, position: number): void {
    this.renumber(position);
    let old = 0;
    while (this.isOlderThan(time)) {
      old += this.#chunks.shift()?.length ?? 0;
      this.#times.shift();
    }
    this.#end -= old;
  }

  #read(from: number, limit: number): Uint8Array {
    const parts: Uint8Array[] = [];
    let at = this.#start;
    let left = limit;
    for (const chunk of this.#chunks) {
      if (left === 0) break;
      const skip = Math.max(0, from - at);
      at += chunk.length;
      if (skip >= chunk.length) continue;
      const part = chunk.subarray(skip, skip + left);
      parts.push(part);
      left -= part.length;
    }
    return parts.length === 1 && parts[0] ? parts[0] : join(parts);
  }
}

function join(parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
