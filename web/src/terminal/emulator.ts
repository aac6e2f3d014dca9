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

const COPY_LIMIT_CHARACTERS = 100_000; // enough for a file's contents, too little to fill a clipboard manager's memory

export function createEmulator(options: EmulatorOptions): Emulator {
  mirrorStyles();
  const terminal = new Terminal({
    allowProposedApi: true,
    cursorBlink: !options.readOnly,
    disableStdin: options.readOnly,
    fontFamily: FONT,
    fontSize: options.fontSize,
    lineHeight: 1.15,
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
