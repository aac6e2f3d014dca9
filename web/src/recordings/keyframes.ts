// Screens of a long recording, kept every so often, so that a jump to any moment draws at once.
import { SerializeAddon } from "@xterm/addon-serialize";
import { UnicodeGraphemesAddon } from "@xterm/addon-unicode-graphemes";
import { Terminal } from "@xterm/xterm";
import { type Cast, readSize } from "./cast";

export interface Keyframe {
  /** The number of the first event that is not on the screen. */
  event: number;
  screen: string;
  cols: number;
  rows: number;
}

const EVERY_CHARACTERS = 256 * 1024; // drawing this much takes about 20 ms, which nobody feels
const SCROLLBACK_LINES = 200;

/** Draws the recording out of sight and hands out its keyframes as they come. Returns the way to stop. */
export function makeKeyframes(cast: Cast, found: (keyframe: Keyframe) => void): () => void {
  const terminal = new Terminal({
    allowProposedApi: true,
    cols: cast.cols,
    rows: cast.rows,
    scrollback: SCROLLBACK_LINES,
  });
  const serialize = new SerializeAddon();
  terminal.loadAddon(serialize);
  terminal.loadAddon(new UnicodeGraphemesAddon());
  let stopped = false;
  let next = 0;

  function step() {
    if (stopped) return;
    const from = next;
    const text = take();
    if (next === from) return;
    terminal.write(text, () => {
      if (stopped) return;
      // In the middle of an escape sequence a screen is not the whole state.
      if (/[\r\n]$/.test(text)) {
        const { cols, rows } = terminal;
        found({ event: next, screen: serialize.serialize({ scrollback: SCROLLBACK_LINES }), cols, rows });
      }
      setTimeout(step);
    });
  }

  /** Takes events up to the next resize or until enough is there. */
  function take(): string {
    let text = "";
    for (; next < cast.events.length && text.length < EVERY_CHARACTERS; next += 1) {
      const event = cast.events[next];
      if (event?.kind === "output") text += event.data;
      const size = event?.kind === "resize" ? readSize(event.data) : null;
      if (size && text !== "") break;
      if (size) terminal.resize(size.cols, size.rows);
    }
    return text;
  }

  setTimeout(step);
  return () => {
    stopped = true;
    terminal.dispose();
  };
}
