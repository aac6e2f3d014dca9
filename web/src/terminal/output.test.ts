import { expect, test } from "vitest";
import { ACK_EVERY_BYTES, OutputCount, OutputGap } from "./output";

test("bytes that come twice are shown once", () => {
  const output = new OutputCount();
  output.begin(10);
  expect(output.take(10, new Uint8Array([1, 2, 3]))).toEqual(new Uint8Array([1, 2, 3]));
  expect(output.take(11, new Uint8Array([2, 3, 4]))).toEqual(new Uint8Array([4]));
  expect(output.take(10, new Uint8Array([1]))).toEqual(new Uint8Array([]));
  expect(output.next).toBe(14);
});

test("missing bytes are noticed", () => {
  const output = new OutputCount();
  output.begin(0);
  expect(() => output.take(1, new Uint8Array([1]))).toThrow(OutputGap);
});

test("what is shown is acknowledged once, and at once when it is much", () => {
  const output = new OutputCount();
  output.begin(0);
  output.take(0, new Uint8Array(ACK_EVERY_BYTES));
  expect(output.show(10)).toBe(false);
  expect(output.acknowledge()).toBe(10);
  expect(output.acknowledge()).toBeNull();
  expect(output.show(10 + ACK_EVERY_BYTES)).toBe(true);
});

test("the echo of a key may wait longer for its acknowledgement than bulk", () => {
  const output = new OutputCount();
  output.begin(0);
  output.show(1);
  expect(output.acknowledgeWithinMs).toBe(1000);
  output.show(5000);
  expect(output.acknowledgeWithinMs).toBe(100);
  output.acknowledge();
  output.show(5001);
  expect(output.acknowledgeWithinMs).toBe(1000);
});
