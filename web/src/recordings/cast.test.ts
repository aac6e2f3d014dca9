import { expect, test } from "vitest";
import { activity, eventAfter, readCast, readSize } from "./cast";

const CAST = `{"version":2,"width":80,"height":24}
[0.5,"o","a"]
[1.5,"r","100x30"]
[2.0,"m","here"]
[4.0,"o","bbb"]
[9.0,"i","typed"]
[9.5,"o","cut in the mid`;

test("events are read up to where the recording was cut off", () => {
  const cast = readCast(CAST);
  expect([cast.cols, cast.rows, cast.lengthSeconds]).toEqual([80, 24, 4]);
  expect(cast.events.map((event) => event.kind)).toEqual(["output", "resize", "mark", "output"]);
});

test("a moment lies after all events of that moment", () => {
  const { events } = readCast(CAST);
  expect([-1, 0.5, 1, 4, 99].map((at) => eventAfter(events, at))).toEqual([0, 1, 1, 4, 4]);
});

test("activity is where something was printed", () => {
  const [first, ...rest] = activity(readCast(CAST), 4);
  expect(first).toBeGreaterThan(0);
  expect(rest).toEqual([0, 0, 1]);
});

test("a size is columns by rows", () => {
  expect(readSize("100x30")).toEqual({ cols: 100, rows: 30 });
  expect(readSize("x30")).toBeNull();
});
