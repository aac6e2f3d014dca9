import { expect, test } from "vitest";
import { MAX_INPUT_BYTES } from "./frame";
import { InputQueue, MAX_IN_FLIGHT_BYTES } from "./input";

const text = (value: string) => new TextEncoder().encode(value);
const words = (frame: { bytes: Uint8Array } | null) => frame && new TextDecoder().decode(frame.bytes);

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 0xff);
}

/** A machine that takes frames in order, refuses some with a rewind, and acknowledges what it took. */
function deliver(queue: InputQueue, refuse: (count: number) => boolean): Uint8Array {
  const arrived = new Uint8Array(queue.waitingBytes);
  let length = 0;
  let count = 0;
  for (let frame = queue.next(); frame; frame = queue.next()) {
    count += 1;
    if (frame.position !== length || refuse(count)) {
      queue.rewind(length);
      continue;
    }
    arrived.set(frame.bytes, length);
    length += frame.bytes.length;
    queue.acknowledge(length);
  }
  return arrived.subarray(0, length);
}

test("what is typed is numbered by bytes", () => {
  const queue = new InputQueue();
  queue.push(text("ls"), 0);
  queue.push(text("é\r"), 0);
  expect(queue.next()).toMatchObject({ position: 0, bytes: text("lsé\r") });
  expect(queue.next()).toBeNull();
});

test("a frame holds at most 16 KiB and at most 256 KiB are in flight", () => {
  const queue = new InputQueue();
  queue.push(pattern(1024 * 1024), 0);
  let inFlight = 0;
  for (let frame = queue.next(); frame; frame = queue.next()) {
    expect(frame.bytes.length).toBeLessThanOrEqual(MAX_INPUT_BYTES);
    inFlight += frame.bytes.length;
  }
  expect(inFlight).toBe(MAX_IN_FLIGHT_BYTES);
  queue.acknowledge(100);
  expect(queue.next()?.bytes.length).toBe(100);
});

// N1: acknowledged means delivered once and in order, whatever was refused on the way.
test("1 MiB arrives whole and in order through rewinds", () => {
  const queue = new InputQueue();
  const sent = pattern(1024 * 1024);
  queue.push(sent, 0);
  const arrived = deliver(queue, (count) => count % 7 === 3);
  expect(Buffer.compare(arrived, sent)).toBe(0);
  expect(queue.waitingBytes).toBe(0);
});

test("an acknowledgement in the middle of a chunk frees only what it covers", () => {
  const queue = new InputQueue();
  queue.push(text("abcdef"), 0);
  queue.next();
  queue.acknowledge(2);
  queue.rewind(2);
  expect(queue.acknowledged).toBe(2);
  expect(words(queue.next())).toBe("cdef");
});

test("a rewind to what was acknowledged already sends nothing twice", () => {
  const queue = new InputQueue();
  queue.push(text("abc"), 0);
  queue.next();
  queue.acknowledge(3);
  queue.rewind(1);
  expect(queue.next()).toBeNull();
});

test("a new writer goes on with what was never sent and gives up what is uncertain", () => {
  const queue = new InputQueue();
  queue.push(text("sent"), 0);
  queue.next();
  queue.push(text("waiting"), 0);
  expect(queue.renumber(0)).toBe(4);
  expect(queue.next()).toMatchObject({ position: 0, bytes: text("waiting") });
});

// R31
test("what is too old or was sent is given up, and the rest goes on under the new numbers", () => {
  const queue = new InputQueue();
  queue.push(text("sent"), 10);
  queue.next();
  queue.push(text("old"), 20);
  queue.push(text("new"), 90);
  expect([queue.isOlderThan(10), queue.isOlderThan(60)]).toEqual([false, true]);
  queue.forget(60, 100);
  expect(queue.isOlderThan(60)).toBe(false);
  const frame = queue.next();
  expect([frame?.position, words(frame), queue.next()]).toEqual([100, "new", null]);
});
