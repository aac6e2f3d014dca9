/** What a person chose for terminals; kept in this browser. */
class Preferences {
  fontSize = $state(readNumber("adit.terminal.font", 14));
  screenReader = $state(localStorage.getItem("adit.terminal.reader") === "on");
  /** Whether the bar above the terminal is out of sight, so that the whole window is the terminal. */
  barHidden = $state(localStorage.getItem("adit.terminal.bar") === "hidden");
  /** Whether programs may put text on the clipboard (OSC 52). Off until the person says so. */
  programsCopy = $state(localStorage.getItem("adit.terminal.copy") === "on");

  setFontSize(size: number): void {
    this.fontSize = Math.min(Math.max(size, MIN_FONT), MAX_FONT);
    localStorage.setItem("adit.terminal.font", String(this.fontSize));
  }

  setScreenReader(on: boolean): void {
    this.screenReader = on;
    localStorage.setItem("adit.terminal.reader", on ? "on" : "off");
  }

  setBarHidden(hidden: boolean): void {
    this.barHidden = hidden;
    localStorage.setItem("adit.terminal.bar", hidden ? "hidden" : "shown");
  }

  setProgramsCopy(on: boolean): void {
    this.programsCopy = on;
    localStorage.setItem("adit.terminal.copy", on ? "on" : "off");
  }
}

const MIN_FONT = 8;
const MAX_FONT = 32;

function readNumber(key: string, otherwise: number): number {
  const value = Number(localStorage.getItem(key));
  return value >= MIN_FONT && value <= MAX_FONT ? value : otherwise;
}

export const preferences = new Preferences();
