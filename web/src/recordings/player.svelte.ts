import { createEmulator, type Emulator, fontSizeFor, openEmulator } from "../terminal/emulator";
import { readLink, type WebLink } from "../terminal/link";
import { preferences } from "../terminal/preferences.svelte";
import { type Cast, eventAfter, readSize } from "./cast";
import { type Keyframe, makeKeyframes } from "./keyframes";

export const SPEEDS = [0.5, 1, 2, 4, 8] as const;
const IDLE_SECONDS = 1.5; // a pause longer than this is cut down to it while idle time is skipped

/** Plays a recording on a terminal that can't answer: nothing it shows reaches anything. */
export class Player {
  readonly cast: Cast;
  readonly emulator: Emulator;
  at = $state(0);
  playing = $state(false);
  speed = $state(1);
  skipIdle = $state(true);
  link = $state.raw<WebLink | null>(null);
  #host: HTMLElement | null = null;
  #next = 0;
  #keyframes: Keyframe[] = [];
  #frame = 0;
  #stopKeyframes: () => void;

  constructor(cast: Cast) {
    this.cast = cast;
    this.emulator = createEmulator({
      readOnly: true,
      fontSize: preferences.fontSize,
      screenReader: preferences.screenReader,
      scrollback: 1000,
      link: (text) => {
        this.link = readLink(text);
      },
      copy: null,
    });
    this.emulator.terminal.resize(cast.cols, cast.rows);
    this.#stopKeyframes = makeKeyframes(cast, (keyframe) => this.#keyframes.push(keyframe));
  }

  mount(host: HTMLElement): () => void {
    this.#host = host;
    openEmulator(this.emulator, host);
    this.#fit();
    const observer = new ResizeObserver(() => this.#fit());
    observer.observe(host);
    this.seek(this.at);
    return () => {
      observer.disconnect();
      cancelAnimationFrame(this.#frame);
      this.#stopKeyframes();
      this.emulator.terminal.dispose();
    };
  }

  toggle(): void {
    if (this.playing) this.pause();
    else this.play();
  }

  play(): void {
    if (this.at >= this.cast.lengthSeconds) this.seek(0);
    this.playing = true;
    let last = performance.now();
    const tick = (now: number) => {
      if (!this.playing) return;
      this.#advance(((now - last) / 1000) * this.speed);
      last = now;
      this.#frame = requestAnimationFrame(tick);
    };
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(tick);
  }

  pause(): void {
    this.playing = false;
  }

  /** Shows the moment `at`: from where it stands, or from the last kept screen before it. */
  seek(at: number): void {
    this.at = Math.min(Math.max(at, 0), this.cast.lengthSeconds);
    const target = eventAfter(this.cast.events, this.at);
    const keyframe = this.#keyframes.findLast((each) => each.event <= target);
    if (target < this.#next || (keyframe && keyframe.event > this.#next)) this.#restore(keyframe);
    this.#draw(target);
  }

  changeSpeed(by: 1 | -1): void {
    const at = SPEEDS.indexOf(this.speed as (typeof SPEEDS)[number]) + by;
    this.speed = SPEEDS[Math.min(Math.max(at, 0), SPEEDS.length - 1)] ?? 1;
  }

  focus(): void {
    this.#host?.focus();
  }

  #advance(seconds: number): void {
    let at = this.at + seconds;
    const upcoming = this.cast.events[this.#next]?.at;
    if (this.skipIdle && upcoming !== undefined && upcoming - at > IDLE_SECONDS) at = upcoming - IDLE_SECONDS;
    this.at = Math.min(at, this.cast.lengthSeconds);
    this.#draw(eventAfter(this.cast.events, this.at));
    if (this.at >= this.cast.lengthSeconds) this.pause();
  }

  #restore(keyframe: Keyframe | undefined): void {
    const { terminal } = this.emulator;
    terminal.reset();
    this.#resize(keyframe?.cols ?? this.cast.cols, keyframe?.rows ?? this.cast.rows);
    this.#next = keyframe?.event ?? 0;
    if (keyframe) terminal.write(keyframe.screen);
  }

  #draw(target: number): void {
    let text = "";
    for (; this.#next < target; this.#next += 1) {
      const event = this.cast.events[this.#next];
      if (event?.kind === "output") text += event.data;
      const size = event?.kind === "resize" ? readSize(event.data) : null;
      if (!size) continue;
      this.#write(text);
      text = "";
      this.#write("", () => this.#resize(size.cols, size.rows));
    }
    this.#write(text);
  }

  #write(text: string, then?: () => void): void {
    if (text !== "" || then) this.emulator.terminal.write(text, then);
  }

  #resize(cols: number, rows: number): void {
    this.emulator.terminal.resize(cols, rows);
    this.#fit();
  }

  /** Makes the text as large as the recording's size lets it be. */
  #fit(): void {
    const { terminal } = this.emulator;
    if (this.#host) terminal.options.fontSize = fontSizeFor(this.#host, terminal.cols, terminal.rows, LARGEST_FONT);
  }
}

const LARGEST_FONT = 18;
