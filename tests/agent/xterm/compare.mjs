// Reads cases, one JSON a line: {id, cols, rows, whole, dump, rest} with base64 bytes. Writes {id, differences} for each:
// `whole` in one xterm.js against `dump` and `rest` in another, in cells, cursor, modes and title.
import { createInterface } from "node:readline";
import headless from "@xterm/headless";

// The addon reads its table from the start of its buffer's memory, which in Node is a shared pool unless there is none.
Buffer.poolSize = 0;
const { default: graphemes } = await import("@xterm/addon-unicode-graphemes");

function open(cols, rows) {
  const terminal = new headless.Terminal({ cols, rows, scrollback: 0, allowProposedApi: true });
  terminal.loadAddon(new graphemes.UnicodeGraphemesAddon());
  terminal.title = "";
  terminal.onTitleChange((title) => (terminal.title = title));
  return terminal;
}

const write = (terminal, base64) =>
  new Promise((done) => terminal.write(Buffer.from(base64, "base64"), done));

// Which link it is can't be told: xterm.js forgets addresses whose first row has gone.
function link(terminal, line, x) {
  const cells = terminal._core._bufferService.buffer.lines.get(line);
  return cells?._extendedAttrs?.[x]?.urlId ? "link" : "";
}

// One of the first sixteen colours by its 256-colour name is the same colour.
function colour(mode, value) {
  return mode === 0x2000000 && value < 16 ? `${0x1000000}:${value}` : `${mode}:${value}`;
}

const LINES = ["Underline", "Inverse", "Strikethrough", "Overline"];

// SGR 59 leaves white in xterm.js's memory where nothing was; both mean the letters' own colour.
function underlineOf(cell) {
  if (!cell.isUnderline()) return "";
  const value = cell.getUnderlineColor();
  return `${cell.getUnderlineStyle()}/${value === 0xffffff || value === cell.getFgColor() ? -1 : value}`;
}

function rowsOf(terminal, buffer) {
  const rows = [];
  const isActive = buffer.type === terminal.buffer.active.type;
  for (let y = 0; y < terminal.rows; y++) {
    const line = buffer.getLine(buffer.baseY + y);
    for (let x = 0; x < terminal.cols; x++) {
      const cell = line.getCell(x);
      const isBlank = cell.getWidth() === 1 && cell.getChars().trim() === "";
      // On a blank little is seen, and half of an overwritten wide character has the looks of the one that overwrote it.
      const flags = (isBlank ? ["Inverse"] : [...LINES, "Bold", "Dim", "Italic", "Blink", "Invisible"])
        .filter((flag) => cell[`is${flag}`]())
        .join(",");
      const underline = isBlank ? "" : underlineOf(cell);
      const chars = cell.getWidth() === 0 ? "" : cell.getChars() || " ";
      rows.push(
        [
          `${y},${x}`,
          chars,
          cell.getWidth(),
          isBlank && !cell.isInverse() ? "" : colour(cell.getFgColorMode(), cell.getFgColor()),
          colour(cell.getBgColorMode(), cell.getBgColor()),
          flags,
          underline,
          isActive ? link(terminal, buffer.baseY + y, x) : "",
        ].join(" "),
      );
    }
  }
  return rows;
}

function stateOf(terminal) {
  const core = terminal._core;
  const active = terminal.buffer.active;
  const state = rowsOf(terminal, active).map((row) => `cell ${row}`);
  if (active.type === "alternate") {
    state.push(...rowsOf(terminal, terminal.buffer.normal).map((row) => `below ${row}`));
  }
  // Where nothing wraps, past the edge is the edge.
  const edge = terminal.modes.wraparoundMode ? terminal.cols : terminal.cols - 1;
  state.push(`cursor ${Math.min(active.cursorX, edge)},${active.cursorY}`);
  state.push(`screen ${active.type}`);
  state.push(`modes ${JSON.stringify(terminal.modes)}`);
  state.push(`hidden ${core.coreService.isCursorHidden}`);
  state.push(`mouse ${core.coreMouseService?.activeEncoding ?? core.mouseStateService?.activeEncoding}`);
  state.push(`cursor style ${core.coreService.decPrivateModes.cursorStyle} ${core.coreService.decPrivateModes.cursorBlink}`);
  state.push(`margins ${core.buffer.scrollTop} ${core.buffer.scrollBottom}`);
  // The model has no stop in the first column, which no tab reaches.
  state.push(`tabs ${Object.keys(core.buffer.tabs).filter((x) => x > 0 && core.buffer.tabs[x]).join(",")}`);
  state.push(`title ${terminal.title}`);
  return state;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, cols, rows, whole, dump, rest } = JSON.parse(line);
  const [one, two] = [open(cols, rows), open(cols, rows)];
  await write(one, whole);
  await write(two, dump);
  await write(two, rest);
  const [wanted, got] = [stateOf(one), stateOf(two)];
  const differences = wanted.flatMap((value, at) => (value === got[at] ? [] : [`${value}  |  ${got[at]}`]));
  console.log(JSON.stringify({ id, differences: differences.slice(0, 8) }));
  one.dispose();
  two.dispose();
}
