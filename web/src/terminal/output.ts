// Output is numbered by bytes of the session. A viewer says what it has shown, so that the gateway slows down with it.

export const ACK_EVERY_BYTES = 128 * 1024;
const ACK_BULK_WITHIN_MS = 100;
/** A few bytes, as the echo of keys, hold up nothing until they are acknowledged. */
const ACK_FEW_WITHIN_MS = 1000;
const FEW_BYTES = 4 * 1024;

/** A gap in the numbered output: bytes are missing, and only a new connection brings them. */
export class OutputGap extends Error {}

/** Knows which byte comes next and which bytes are shown, and drops what comes twice. */
export class OutputCount {
  /** The position of the next byte; null until a snapshot or the first frame says where the stream begins. */
  next: number | null = null;
  #shown = 0;
  #acknowledged = 0;

  /** Starts anew at `position`: everything before it is on the screen. */
  begin(position: number): void {
    this.next = position;
    this.#shown = position;
    this.#acknowledged = position;
  }

  /** Takes a frame and returns the part of it that is new. */
  take(position: number, bytes: Uint8Array): Uint8Array {
    if (this.next === null) this.begin(position);
    const expected = this.next ?? position;
    if (position > expected) throw new OutputGap(`output at ${position}, expected at ${expected}`);
    const fresh = bytes.subarray(Math.min(expected - position, bytes.length));
    this.next = expected + fresh.length;
    return fresh;
  }

  /** The terminal has shown everything before `position`. Returns whether the gateway should hear it at once. */
  show(position: number): boolean {
    this.#shown = Math.max(this.#shown, position);
    return this.#shown - this.#acknowledged >= ACK_EVERY_BYTES;
  }

  /** How long what is shown may wait for its acknowledgement. */
  get acknowledgeWithinMs(): number {
    return this.#shown - this.#acknowledged < FEW_BYTES ? ACK_FEW_WITHIN_MS : ACK_BULK_WITHIN_MS;
  }

  /** The position to acknowledge now, or null when that was done. */
  acknowledge(): number | null {
    if (this.#shown === this.#acknowledged) return null;
    this.#acknowledged = this.#shown;
    return this.#shown;
  }
}
