// An xterm.js terminal made safe for output that nobody vouches for. Used by live terminals and by the player.
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { UnicodeGraphemesAddon } from "@xterm/addon-unicode-graphemes";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { FONT, THEME } from "./appearance";
import { mirrorStyles } from "./styles";

export interface EmulatorOptions {
  /** Whether the keyboard and the terminal's own answers go anywhere; a watcher's and the player's go nowhere. */
  readOnly: boolean;
  fontSize: number;
  screenReader: boolean;
  scrollback: number;
  /** A link of the output was clicked. */
  link: (text: string) => void;
  /** A program asks to put text on the clipboard; null to ignore all such. Reading is never answered. */
  copy: ((text: string) => void) | null;
}

export interface Emulator {
  terminal: Terminal;
  fit: FitAddon;
  search: SearchAddon;
}

const LINE_HEIGHT = 1.15;
const SCROLLBAR_PX = 14; // the room that xterm.js keeps at the right edge
const SMALLEST_FONT = 7; // smaller is unreadable; what does not fit is reached by scrolling
const COPY_LIMIT_CHARACTERS = 100_000; // enough for a file's contents, too little to fill a clipboard manager's memory

export function createEmulator(options: EmulatorOptions): Emulator {
  mirrorStyles();
  const terminal = new Terminal({
    allowProposedApi: true,
    cursorBlink: !options.readOnly,
    disableStdin: options.readOnly,
    fontFamily: FONT,
    fontSize: options.fontSize,
    lineHeight: LINE_HEIGHT,
    macOptionIsMeta: true,
    minimumContrastRatio: 1,
    rightClickSelectsWord: true,
    screenReaderMode: options.screenReader,
    scrollback: options.scrollback,
    theme: THEME,
    linkHandler: { activate: (_event, text) => options.link(text) },
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(search);
  terminal.loadAddon(new UnicodeGraphemesAddon());
  terminal.loadAddon(new WebLinksAddon((_event, text) => options.link(text)));
  terminal.parser.registerOscHandler(52, (data) => {
    const text = options.copy && clipboardText(data);
    if (text) options.copy?.(text);
    return true;
  });
  return { terminal, fit, search };
}

/** Puts the terminal into the page; draws by WebGL where there is one, else by the DOM. */
export function openEmulator({ terminal }: Emulator, host: HTMLElement): void {
  terminal.open(host);
  try {
    const webgl = new WebglAddon();
    webgl.onContextLoss(() => webgl.dispose());
    terminal.loadAddon(webgl);
  } catch {
    // No WebGL here: the DOM renderer is already at work.
  }
}

/** The largest font size, in quarters of a pixel, at which `cols` × `rows` fit into `host`. */
export function fontSizeFor(host: HTMLElement, cols: number, rows: number, largest: number): number {
  const context = document.createElement("canvas").getContext("2d");
  if (!context || host.clientWidth === 0) return largest;
  context.font = `100px ${FONT}`;
  const letter = context.measureText("W");
  const widthOfOne = letter.width / 100;
  const heightOfOne = ((letter.fontBoundingBoxAscent + letter.fontBoundingBoxDescent) / 100) * LINE_HEIGHT;
  const style = getComputedStyle(host);
  const width =
    host.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight) - SCROLLBAR_PX;
  const height = host.clientHeight - Number.parseFloat(style.paddingTop) - Number.parseFloat(style.paddingBottom);
  const size = Math.min(width / (cols * widthOfOne), height / (rows * heightOfOne), largest);
  return Math.max(SMALLEST_FONT, Math.floor(size * 4) / 4);
}

/** Reads `selection;base64` of OSC 52. A question for the clipboard's content is nothing. */
function clipboardText(data: string): string | null {
  const encoded = data.slice(data.indexOf(";") + 1);
  if (encoded === "?" || encoded.length > COPY_LIMIT_CHARACTERS) return null;
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0)));
  } catch {
    return null;
  }
}
