import { expect, test } from "vitest";
import { type Stream, Transcript, visible } from "./transcript";

const encode = (text: string) => new TextEncoder().encode(text);

function shown(...pieces: [Stream, string | Uint8Array][]): [Stream, string][] {
  const transcript = new Transcript();
  for (const [stream, piece] of pieces) transcript.push(stream, typeof piece === "string" ? encode(piece) : piece);
  transcript.end();
  return transcript
    .blocks()
    .flatMap(({ groups }) =>
      groups.map(({ stream, runs }): [Stream, string] => [stream, runs.map((run) => run.text).join("")]),
    );
}

const runs = (text: string) => {
  const transcript = new Transcript();
  transcript.push("stdout", encode(text));
  return transcript.blocks().flatMap(({ groups }) => groups.flatMap((group) => group.runs));
};

test("lines come as they were written", () => {
  expect(shown(["stdout", "one\ntwo\r\n\nthree"])).toEqual([["stdout", "one\ntwo\n\nthree\n"]]);
});

test("a line that is cut into pieces anywhere is the same line", () => {
  const bytes = encode("\u001b[1;31mrot\u001b[0m grün 😀\r\nend\n");
  const whole = shown(["stdout", bytes]);
  for (let at = 1; at < bytes.length; at += 1) {
    expect(shown(["stdout", bytes.subarray(0, at)], ["stdout", bytes.subarray(at)])).toEqual(whole);
  }
});

test("one stream does not tear the other's line", () => {
  expect(shown(["stdout", "12"], ["stderr", "bad\n"], ["stdout", "34\n"])).toEqual([
    ["stdout", "1234\n"],
    ["stderr", "bad\n"],
  ]);
});

test("colours are followed", () => {
  const [red, plain] = runs("\u001b[1;31mred\u001b[0m plain");
  expect(red).toMatchObject({ text: "red", look: { colour: "#ff7b72", marks: "bold" } });
  expect(plain?.look).toEqual({ colour: null, ground: null, marks: "" });
  expect(runs("\u001b[38;5;196mx")[0]?.look.colour).toBe("rgb(255 0 0)");
  expect(runs("\u001b[48;2;1;2;999mx")[0]?.look.ground).toBe("rgb(1 2 255)");
  expect(runs("\u001b[38;5;244;4mx")[0]?.look).toEqual({
    colour: "rgb(128 128 128)",
    ground: null,
    marks: "underline",
  });
});

test("what erases the empty rest of a line is nothing", () => {
  expect(runs("\u001b[01;31m\u001b[Kroot\u001b[m\u001b[K:x").map((run) => run.text)).toEqual(["root", ":x\n"]);
});

test("nothing is hidden: the order to hide text is not followed", () => {
  expect(runs("\u001b[8msecret")[0]).toMatchObject({ text: "secret\n", look: { marks: "" } });
});

test("what a terminal would obey is shown, and does nothing", () => {
  const [[, text] = ["", ""]] = shown(["stdout", "a\u001b[2Jb\u001b]0;title\u0007c\u001bPq\u0008\u009b5n\rover"]);
  expect(text).toBe("a␛[2Jb␛]0;title␇c␛Pq␈<009B>5n␍over\n");
});

test("text that would turn its direction is shown as what it is", () => {
  expect(visible("a\u202eb\u200b\u0000\u007f")).toBe("a<202E>b<200B>␀␡");
});

test("bytes that are no text are marked", () => {
  expect(shown(["stdout", new Uint8Array([0x61, 0xff, 0x62])])).toEqual([["stdout", "a\ufffdb\n"]]);
});

test("a block that did not change is not made again", () => {
  const transcript = new Transcript();
  transcript.push("stdout", encode("x\n".repeat(450)));
  const before = transcript.blocks();
  transcript.push("stdout", encode("y\n"));
  const after = transcript.blocks();
  expect(after.map((block, at) => block === before[at])).toEqual([true, true, false]);
});

test("more than can be shown is cut, and that is known", () => {
  const transcript = new Transcript();
  const piece = encode("0123456789abcde\n".repeat(65_536));
  for (let megabyte = 0; megabyte < 9; megabyte += 1) transcript.push("stdout", piece);
  expect(transcript.cut).toBe(true);
});
