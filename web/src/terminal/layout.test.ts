import { expect, test } from "vitest";
import { type Layout, moveDivider, panesOf, place, removePane, type Split, splitPane } from "./layout";

const two = splitPane<string>({ pane: "a" }, "a", "row", "b");
const three = splitPane(two, "b", "column", "c");

test("a split shares the window between its panes", () => {
  expect(place(three).panes).toEqual([
    { pane: "a", left: 0, top: 0, width: 50, height: 100 },
    { pane: "b", left: 50, top: 0, width: 50, height: 50 },
    { pane: "c", left: 50, top: 50, width: 50, height: 50 },
  ]);
  expect(place(three).dividers).toHaveLength(2);
});

test("closing a pane gives its room to its neighbour", () => {
  expect(removePane(three, "b")).toEqual(splitPane<string>({ pane: "a" }, "a", "row", "c"));
  expect(panesOf(removePane(three, "a") as Layout<string>)).toEqual(["b", "c"]);
  expect(removePane<string>({ pane: "a" }, "a")).toBeNull();
});

test("a divider leaves room for both sides", () => {
  const moved = moveDivider(two, two as Split<string>, 0.001) as Split<string>;
  expect(moved.share).toBe(0.1);
});
