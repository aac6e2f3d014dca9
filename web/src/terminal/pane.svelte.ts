import type { Participant } from "../generated/adit/terminal/v1/terminal_pb";
import { FONT } from "./appearance";
import { type Admission, Connection, type Mode, type Screen, type Status, type Target } from "./connection";
import { createEmulator, type Emulator, fontSizeFor, openEmulator } from "./emulator";
import { readLink, type WebLink } from "./link";
import { type PastePlan, pasteBytes, planPaste } from "./paste";
import { preferences } from "./preferences.svelte";
import { browserWorld } from "./world";

const RESIZE_QUIET_MS = 80; // a window that is dragged sends a few sizes a second instead of sixty
const SCROLLBACK_LINES = 10_000;
const NOTICES_SHOWN = 3;

/** One terminal: the emulator, its connection, and what the page shows around them. Lives longer than its component. */
export class TerminalPane implements Screen {
  readonly id = crypto.randomUUID();
  readonly mode: Mode;
  readonly host = document.createElement("div");
  readonly emulator: Emulator;
  readonly connection: Connection;
  current = $state.raw<Status>({ kind: "connecting" });
  admission = $state.raw<Admission | null>(null);
  people = $state.raw<Participant[]>([]);
  notices = $state.raw<{ code: string; sentence: string }[]>([]);
  title = $state("");
  machine = $state("");
  /** The paste or the link that waits for the person's word. */
  paste = $state.raw<PastePlan | null>(null);
  link = $state.raw<WebLink | null>(null);
  control = $state(false);
  alt = $state(false);
  #target: Target;
  #observer: ResizeObserver | null = null;
  #resizing: ReturnType<typeof setTimeout> | null = null;
  #opened = false;

  constructor(target: Target, mode: Mode) {
    this.#target = target;
    this.mode = mode;
    this.machine = "machine" in target ? target.machine : "";
    this.host.className = "terminal-host";
    this.emulator = createEmulator({
      readOnly: mode === "view",
      fontSize: preferences.fontSize,
      screenReader: preferences.screenReader,
      scrollback: SCROLLBACK_LINES,
      link: (text) => {
        this.link = readLink(text);
      },
      copy: (text) => {
        if (preferences.programsCopy && mode === "control") void navigator.clipboard.writeText(text);
      },
    });
    this.connection = new Connection(browserWorld, this, target, mode);
    this.#listen();
  }

  get sessionId(): string | null {
    return this.admission?.sessionId ?? ("session" in this.#target ? this.#target.session : null);
  }

  get mayType(): boolean {
    return this.mode === "control" && (this.admission?.capabilities.includes("input") ?? true);
  }

  get ended(): boolean {
    return this.current.kind === "ended";
  }

  /** Puts the terminal into `parent`, and connects it the first time. */
  mount(parent: HTMLElement): () => void {
    parent.append(this.host);
    void this.#open();
    this.#observer = new ResizeObserver(() => this.#fitSoon());
    this.#observer.observe(parent);
    return () => {
      this.#observer?.disconnect();
      this.host.remove();
    };
  }

  dispose(): void {
    this.connection.close();
    this.emulator.terminal.dispose();
  }

  focus(): void {
    this.emulator.terminal.focus();
  }

  applyPreferences(): void {
    const { terminal } = this.emulator;
    terminal.options.screenReaderMode = preferences.screenReader;
    if (terminal.options.fontSize !== preferences.fontSize) {
      terminal.options.fontSize = preferences.fontSize;
      this.#fitSoon();
    }
  }

  /** Types text as if the keys were pressed, with the held modifiers of the key bar. */
  press(text: string): void {
    this.connection.type(new TextEncoder().encode(this.#modified(text)));
    this.emulator.terminal.scrollToBottom();
  }

  pressArrow(letter: "A" | "B" | "C" | "D"): void {
    const start = this.emulator.terminal.modes.applicationCursorKeysMode ? "\u001bO" : "\u001b[";
    this.press(start + letter);
  }

  offerPaste(text: string): void {
    if (text === "" || !this.mayType) return;
    const plan = planPaste(text, this.#bracketed);
    if (plan.ask) this.paste = plan;
    else this.#type(plan.text);
  }

  confirmPaste(): void {
    const plan = this.paste;
    this.paste = null;
    if (plan) this.#type(plan.text);
    this.focus();
  }

  // Screen: what the connection tells.

  size(): { cols: number; rows: number } {
    const { cols, rows } = this.emulator.terminal;
    return { cols, rows };
  }

  write(bytes: Uint8Array, shown: () => void): void {
    this.emulator.terminal.write(bytes, shown);
  }

  restore(screen: Uint8Array, cols: number, rows: number, shown: () => void): void {
    const { terminal } = this.emulator;
    terminal.reset();
    terminal.resize(cols, rows);
    terminal.write(screen, () => {
      shown();
      if (this.mode === "control") this.#fitSoon();
      else this.#fit();
    });
  }

  resized(cols: number, rows: number): void {
    this.emulator.terminal.resize(cols, rows);
    if (this.mode === "view") this.#fit();
  }

  admitted(admission: Admission): void {
    this.admission = admission;
    this.machine = admission.machine;
    this.emulator.terminal.options.disableStdin = !this.mayType;
    if (this.mayType) this.#fit();
  }

  participants(list: Participant[]): void {
    this.people = list;
  }

  notice(code: string, sentence: string): void {
    this.notices = [...this.notices.filter((notice) => notice.code !== code), { code, sentence }].slice(-NOTICES_SHOWN);
  }

  dismiss(code: string): void {
    this.notices = this.notices.filter((notice) => notice.code !== code);
  }

  status(status: Status): void {
    const ended = status.kind === "ended" && this.current.kind !== "ended";
    this.current = status;
    if (!ended) return;
    this.people = [];
    this.emulator.terminal.options.cursorBlink = false;
  }

  /** Opens once, after the font is there: the emulator measures its cells by it. */
  async #open(): Promise<void> {
    if (this.#opened) return;
    this.#opened = true;
    await Promise.allSettled([document.fonts.load(`${preferences.fontSize}px ${FONT}`)]);
    openEmulator(this.emulator, this.host);
    this.#fit();
    this.connection.start();
    this.focus();
  }

  get #bracketed(): boolean {
    return this.emulator.terminal.modes.bracketedPasteMode;
  }

  #listen(): void {
    const { terminal } = this.emulator;
    terminal.onData((data) => this.connection.type(new TextEncoder().encode(this.#modified(data))));
    terminal.onBinary((data) => this.connection.type(Uint8Array.from(data, (letter) => letter.charCodeAt(0))));
    terminal.onTitleChange((title) => {
      this.title = title.slice(0, MAX_TITLE_CHARACTERS);
    });
    // Taken before xterm.js sees it: its own paste neither asks nor cleans.
    this.host.addEventListener("paste", (event) => this.#pasted(event), { capture: true });
    terminal.attachCustomKeyEventHandler((event) => !this.#isChord(event));
  }

  #pasted(event: ClipboardEvent): void {
    event.preventDefault();
    event.stopPropagation();
    this.offerPaste(event.clipboardData?.getData("text/plain") ?? "");
  }

  /** The few keys that are the console's and not the shell's; the keys help names them. */
  #isChord(event: KeyboardEvent): boolean {
    if (event.metaKey && event.key.toLowerCase() === "k") return true;
    if (event.altKey && event.shiftKey && PANE_KEYS.has(event.code)) return true;
    if (!event.ctrlKey || !event.shiftKey) return false;
    if (event.code === "KeyC") {
      if (event.type === "keydown") this.#copySelection(event);
      return true;
    }
    return event.code === "KeyV" || event.code === "KeyF" || event.code === "KeyK";
  }

  #copySelection(event: KeyboardEvent): void {
    event.preventDefault();
    const text = this.emulator.terminal.getSelection();
    if (text) void navigator.clipboard.writeText(text);
  }

  #type(text: string): void {
    this.connection.type(pasteBytes(text, this.#bracketed));
    this.emulator.terminal.scrollToBottom();
  }

  #modified(text: string): string {
    if (text.length !== 1) return text;
    let typed = text;
    if (this.control) {
      const code = text.toUpperCase().charCodeAt(0);
      if (code >= 64 && code < 96) typed = String.fromCharCode(code - 64);
    }
    if (this.alt) typed = `\u001b${typed}`;
    [this.control, this.alt] = [false, false];
    return typed;
  }

  #fitSoon(): void {
    if (this.#resizing) clearTimeout(this.#resizing);
    this.#resizing = setTimeout(() => this.#fit(), RESIZE_QUIET_MS);
  }

  /** Who types gives the session its window's size; a watcher's text shrinks until the session's size fits the window. */
  #fit(): void {
    if (!this.host.isConnected || this.host.clientWidth === 0) return;
    const { terminal, fit } = this.emulator;
    if (this.mode === "view") {
      this.#fitText();
      return;
    }
    const room = fit.proposeDimensions();
    if (!room || Number.isNaN(room.cols) || (room.cols === terminal.cols && room.rows === terminal.rows)) return;
    terminal.resize(room.cols, room.rows);
    this.connection.resize(room.cols, room.rows);
  }

  #fitText(): void {
    const { terminal } = this.emulator;
    terminal.options.fontSize = fontSizeFor(this.host, terminal.cols, terminal.rows, preferences.fontSize);
  }
}

const MAX_TITLE_CHARACTERS = 120;
const PANE_KEYS = new Set(["KeyB", "KeyT", "KeyE", "KeyD", "KeyW", "ArrowLeft", "ArrowRight"]);
