// What a job wrote, as text that can be shown. Of all that a terminal obeys only colours and weights are followed (SGR, ECMA-48 §8.3.117);
// everything else is shown as the signs that it is. Standard output and standard error never tear each other's lines.

export type Stream = "stdout" | "stderr";

/** How a run of text looks; `ground` stands for the terminal's own colours. */
export interface Look {
  colour: string | null;
  ground: string | null;
  /** Class names. */
  marks: string;
}

export interface Run {
  text: string;
  look: Look;
}

/** Lines of one stream that follow each other. Each ends with a newline. */
export interface Group {
  stream: Stream;
  runs: Run[];
}

/** Some lines that are drawn together, and not drawn again as long as it is the same object. */
export interface Block {
  key: number;
  groups: Group[];
}

interface Line {
  stream: Stream;
  runs: Run[];
}

interface Slot {
  lines: Line[];
  drawn: Block | null;
}

/** The state of one stream: what is open, and how the next sign looks. */
interface Reader {
  stream: Stream;
  decoder: TextDecoder;
  pending: string;
  open: { line: Line; slot: Slot } | null;
  pen: Pen;
  look: Look;
}

interface Pen {
  colour: string | null;
  ground: string | null;
  marks: Set<string>;
}

/** What a job wrote, in the order of its lines' beginnings. */
export class Transcript {
  /** Whether there was more than is shown. */
  cut = false;
  #slots: Slot[] = [];
  #characters = 0;
  #readers: Record<Stream, Reader> = { stdout: reader("stdout"), stderr: reader("stderr") };

  get isEmpty(): boolean {
    return this.#slots.length === 0;
  }

  push(stream: Stream, bytes: Uint8Array): void {
    const one = this.#readers[stream];
    this.#read(one, one.decoder.decode(bytes, { stream: true }), false);
  }

  /** Shows what waited for its rest. */
  end(): void {
    for (const one of Object.values(this.#readers)) this.#read(one, one.decoder.decode(), true);
  }

  /** What there is, in blocks; those that did not change are the same objects as before. */
  blocks(): Block[] {
    return this.#slots.map((slot, key) => {
      slot.drawn ??= { key, groups: grouped(slot.lines) };
      return slot.drawn;
    });
  }

  #read(one: Reader, more: string, last: boolean): void {
    const text = one.pending + more;
    one.pending = "";
    let from = 0;
    let at = 0;
    while (at < text.length) {
      const code = text.charCodeAt(at);
      if (!isSpecial(code)) {
        at += 1;
        continue;
      }
      this.#write(one, text.slice(from, at), one.look);
      const length = this.#special(one, text, at, last);
      if (length === 0) {
        one.pending = text.slice(at);
        return;
      }
      at += length;
      from = at;
    }
    this.#write(one, text.slice(from), one.look);
  }

  /** Follows or shows what stands at a place; gives its length, 0 where its rest is still to come. */
  #special(one: Reader, text: string, at: number, last: boolean): number {
    const sign = text[at] ?? "";
    if (sign === "\n") {
      this.#endLine(one);
      return 1;
    }
    if (sign === "\r") {
      if (at + 1 === text.length && !last) return 0;
      if (text[at + 1] === "\n") return 1;
    }
    if (sign === ESCAPE) {
      // To erase what follows on a line is nothing where nothing ever follows: grep ends each colour with it.
      if (text.startsWith(ERASE, at)) return ERASE.length;
      const length = sgrLength(text, at);
      if (length > 0) {
        follow(one.pen, text.slice(at + 2, at + length - 1));
        one.look = lookOf(one.pen);
        return length;
      }
      if (length === INCOMPLETE && !last) return 0;
    }
    this.#write(one, picture(sign), CONTROL);
    return 1;
  }

  #write(one: Reader, text: string, look: Look): void {
    if (text === "") return;
    this.#characters += text.length;
    if (this.#characters > MOST_CHARACTERS) {
      this.cut = true;
      return;
    }
    const { line, slot } = this.#line(one);
    slot.drawn = null;
    const run = line.runs.at(-1);
    if (run && run.look === look) run.text += text;
    else line.runs.push({ text, look });
  }

  #endLine(one: Reader): void {
    if (this.#characters > MOST_CHARACTERS) return;
    this.#characters += 1;
    this.#line(one);
    one.open = null;
  }

  #line(one: Reader): { line: Line; slot: Slot } {
    if (one.open) return one.open;
    let slot = this.#slots.at(-1);
    if (!slot || slot.lines.length >= BLOCK_LINES) {
      slot = { lines: [], drawn: null };
      this.#slots.push(slot);
    }
    const line: Line = { stream: one.stream, runs: [] };
    slot.lines.push(line);
    slot.drawn = null;
    one.open = { line, slot };
    return one.open;
  }
}

/** A text with everything in it that is not seen, or that turns what is around it, shown. */
export function visible(text: string): string {
  return [...text].map((sign) => (isSpecial(sign.charCodeAt(0)) ? picture(sign) : sign)).join("");
}

const ESCAPE = "\u001b";
const ERASE = "\u001b[K";
const INCOMPLETE = -1;
const BLOCK_LINES = 200; // few enough to draw again while it grows, many enough for few blocks
const MOST_CHARACTERS = 8 * 1024 * 1024; // more than the gateway keeps unless told otherwise, and what a browser shows without pain
const LONGEST_SEQUENCE = 64; // longer than any sequence that means a colour

const PLAIN: Look = { colour: null, ground: null, marks: "" };
const CONTROL: Look = { colour: null, ground: null, marks: "control" };

/** The sixteen colours, as the terminal has them. */
const COLOURS = [
  "#6b7a8c", // black would not be seen on the terminal's ground
  "#ff7b72",
  "#6fd08c",
  "#f0b95c",
  "#6cb0ff",
  "#d6a0ff",
  "#5fd3d8",
  "#c5d0dc",
  "#8b99aa",
  "#ffa198",
  "#8fe3a8",
  "#ffd58a",
  "#9accff",
  "#e6c2ff",
  "#8fe9ec",
  "#f5f8fb",
];

const MARKS: Record<number, string> = { 1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "struck" };
const UNMARKS: Record<number, string[]> = {
  22: ["bold", "faint"],
  23: ["italic"],
  24: ["underline"],
  27: ["inverse"],
  29: ["struck"],
};

function reader(stream: Stream): Reader {
  const pen = { colour: null, ground: null, marks: new Set<string>() };
  return { stream, decoder: new TextDecoder(), pending: "", open: null, pen, look: PLAIN };
}

function grouped(lines: Line[]): Group[] {
  const groups: Group[] = [];
  for (const { stream, runs } of lines) {
    let group = groups.at(-1);
    if (group?.stream !== stream) {
      group = { stream, runs: [] };
      groups.push(group);
    }
    for (const run of [...runs, { text: "\n", look: PLAIN }]) {
      const before = group.runs.at(-1);
      if (before?.look === run.look) before.text += run.text;
      else group.runs.push({ ...run });
    }
  }
  return groups;
}

/** Whether a sign is one that a terminal obeys, that turns the direction of text, or that nobody sees. A tab is just room. */
function isSpecial(code: number): boolean {
  if (code < 0x20) return code !== 0x09;
  if (code < 0x7f) return false;
  if (code < 0xa0) return true;
  return (
    code === 0x061c ||
    (code >= 0x200b && code <= 0x200f) ||
    (code >= 0x2028 && code <= 0x202e) ||
    (code >= 0x2060 && code <= 0x2069) ||
    code === 0xfeff
  );
}

function picture(sign: string): string {
  const code = sign.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "␡";
  return `<${code.toString(16).toUpperCase().padStart(4, "0")}>`;
}

/** The length of the sequence of colours that begins here: 0 where it is none, `INCOMPLETE` where that is not told yet. */
function sgrLength(text: string, at: number): number {
  if (at + 1 === text.length) return INCOMPLETE;
  if (text[at + 1] !== "[") return 0;
  let end = at + 2;
  while (end < text.length && end - at < LONGEST_SEQUENCE && "0123456789;:".includes(text[end] ?? "")) end += 1;
  if (end === text.length) return INCOMPLETE;
  return text[end] === "m" ? end - at + 1 : 0;
}

function follow(pen: Pen, parameters: string): void {
  const numbers = parameters.split(/[;:]/).map((text) => Number(text || "0"));
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at] ?? 0;
    if (code === 38 || code === 48) {
      const [colour, used] = wideColour(numbers.slice(at + 1));
      if (colour) pen[code === 38 ? "colour" : "ground"] = colour;
      at += used;
    } else {
      step(pen, code);
    }
  }
}

function step(pen: Pen, code: number): void {
  const mark = MARKS[code];
  if (code === 0) {
    pen.colour = null;
    pen.ground = null;
    pen.marks.clear();
  } else if (mark) pen.marks.add(mark);
  else if (UNMARKS[code]) for (const one of UNMARKS[code]) pen.marks.delete(one);
  else if (code >= 30 && code <= 37) pen.colour = COLOURS[code - 30] ?? null;
  else if (code >= 90 && code <= 97) pen.colour = COLOURS[code - 82] ?? null;
  else if (code === 39) pen.colour = null;
  else if (code >= 40 && code <= 47) pen.ground = COLOURS[code - 40] ?? null;
  else if (code >= 100 && code <= 107) pen.ground = COLOURS[code - 92] ?? null;
  else if (code === 49) pen.ground = null;
}

/** Reads `5;N` or `2;R;G;B`; gives the colour, and how many numbers it took. */
function wideColour(numbers: number[]): [string | null, number] {
  const byte = (value: number | undefined) => Math.min(255, value ?? 0);
  if (numbers[0] === 5) return [indexed(byte(numbers[1])), 2];
  if (numbers[0] !== 2) return [null, numbers.length];
  return [`rgb(${byte(numbers[1])} ${byte(numbers[2])} ${byte(numbers[3])})`, 4];
}

/** A colour of the 256: sixteen by name, a cube of six steps, and grey. */
function indexed(index: number): string | null {
  if (index < 16) return COLOURS[index] ?? null;
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const level = (step: number) => (step === 0 ? 0 : 55 + step * 40);
  const at = index - 16;
  return `rgb(${level(Math.floor(at / 36))} ${level(Math.floor(at / 6) % 6)} ${level(at % 6)})`;
}

const looks = new Map<string, Look>();

/** One object for each look, so that runs are told apart by it. */
function lookOf({ colour, ground, marks }: Pen): Look {
  if (!colour && !ground && marks.size === 0) return PLAIN;
  const words = [...marks].sort().join(" ");
  const key = `${colour}|${ground}|${words}`;
  let look = looks.get(key);
  if (!look) {
    look = marks.has("inverse")
      ? { colour: ground ?? "var(--term-ground)", ground: colour ?? "#dbe3ec", marks: words }
      : { colour, ground, marks: words };
    if (looks.size < MOST_LOOKS) looks.set(key, look);
  }
  return look;
}

const MOST_LOOKS = 4096; // output that draws a picture in colours of its own does not stay in memory for it
