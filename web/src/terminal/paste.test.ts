import { expect, test } from "vitest";
import { pasteBytes, planPaste } from "./paste";

const typed = (text: string, bracketed: boolean) =>
  new TextDecoder().decode(pasteBytes(planPaste(text, bracketed).text, bracketed));

// BRW-36
test("a paste can't end its own brackets", () => {
  expect(typed("safe\u001b[201~\rrm -rf /\r", true)).toBe("\u001b[200~safe\rrm -rf /\r\u001b[201~");
  expect(typed("\u009b201~x", true)).toBe("\u001b[200~x\u001b[201~");
});

// BRW-36
test("a terminator that appears when another is taken out is taken out too", () => {
  const nested = "\u001b[20\u001b[201~1~id\r";
  expect(typed(nested, true)).toBe("\u001b[200~id\r\u001b[201~");
  expect(typed("\u001b[2\u000001~id", true)).toBe("\u001b[200~id\u001b[201~");
});

test("control characters other than tab and line ends are taken out", () => {
  expect(planPaste("a\u0003b\tc\nd\u007fe\u0085", true).text).toBe("ab\tc\nde");
});

test("line ends are typed as the Enter key", () => {
  expect(typed("a\r\nb\nc", true)).toBe("\u001b[200~a\rb\rc\u001b[201~");
});

test("lines that would run at once are asked about", () => {
  expect(planPaste("one line", false).ask).toBeNull();
  expect(planPaste("one line\n", false).ask).toBe("runs-at-once");
  expect(planPaste("two\nlines", false)).toMatchObject({ ask: "runs-at-once", lines: 2 });
  expect(planPaste("two\nlines", true).ask).toBeNull();
});

test("a large paste is asked about even within brackets", () => {
  expect(planPaste("x".repeat(1024 * 1024), true).ask).toBe("large");
  expect(planPaste("x\n".repeat(300), true).ask).toBe("large");
});

test("1 MiB is typed whole", () => {
  const text = Array.from({ length: 1024 * 64 }, (_, at) => String(at).padStart(15, "0")).join("\n");
  expect(typed(text, false)).toBe(text.replaceAll("\n", "\r"));
});
