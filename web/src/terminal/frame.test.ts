import { expect, test } from "vitest";
import vectors from "../../../crates/adit-wire/src/frame/vectors.json";
import { decodeFrame, encodeFrame, FrameError, INPUT, MAX_INPUT_BYTES, MESSAGE, OUTPUT, STDERR } from "./frame";

const bytes = (...values: number[]) => new Uint8Array(values);

test("a data frame is its kind, its position and its bytes", () => {
  const encoded = encodeFrame({ kind: OUTPUT, position: 0x0102030405, bytes: bytes(0x61, 0x62) });
  expect([...encoded]).toEqual([1, 0, 0, 0, 1, 2, 3, 4, 5, 0x61, 0x62]);
});

test("what was encoded is decoded", () => {
  for (const kind of [OUTPUT, INPUT, STDERR] as const) {
    for (const position of [0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const frame = { kind, position, bytes: bytes(0, 27, 255) };
      expect(decodeFrame(encodeFrame(frame))).toEqual(frame);
    }
  }
  expect(decodeFrame(encodeFrame({ kind: MESSAGE, message: bytes(1, 2) }))).toEqual({
    kind: MESSAGE,
    message: bytes(1, 2),
  });
});

test("a frame inside a larger buffer is read from its own start", () => {
  const whole = bytes(9, 9, 9, ...encodeFrame({ kind: OUTPUT, position: 7, bytes: bytes(65) }));
  expect(decodeFrame(whole.subarray(3))).toEqual({ kind: OUTPUT, position: 7, bytes: bytes(65) });
});

test("a broken frame is refused", () => {
  expect(() => decodeFrame(bytes())).toThrow(FrameError);
  expect(() => decodeFrame(bytes(4, 0, 0))).toThrow(FrameError);
  expect(() => decodeFrame(bytes(OUTPUT, 0, 0, 0))).toThrow(FrameError);
  expect(() => decodeFrame(bytes(OUTPUT, 255, 255, 255, 255, 255, 255, 255, 255))).toThrow(FrameError);
  const large = encodeFrame({ kind: INPUT, position: 0, bytes: new Uint8Array(MAX_INPUT_BYTES + 1) });
  expect(() => decodeFrame(large)).toThrow(FrameError);
});

function whole(vector: { head: string; zeros: number }): Uint8Array {
  const head = (vector.head.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16));
  const out = new Uint8Array(head.length + vector.zeros);
  out.set(head);
  return out;
}

test("the shared frames read and write as in the gateway", () => {
  for (const vector of vectors.frames) {
    const frame = decodeFrame(whole(vector));
    expect(frame.kind, vector.name).toBe(vector.kind);
    if (frame.kind !== MESSAGE) expect(frame.position, vector.name).toBe(vector.position);
    expect(encodeFrame(frame), vector.name).toEqual(whole(vector));
  }
});

test("what the gateway refuses is refused", () => {
  for (const vector of vectors.refusals) {
    expect(() => decodeFrame(whole(vector)), vector.name).toThrow(FrameError);
  }
});
