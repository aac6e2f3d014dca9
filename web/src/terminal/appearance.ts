import type { ITheme } from "@xterm/xterm";

export const FONT = '"JetBrains Mono NL", ui-monospace, "DejaVu Sans Mono", "Noto Color Emoji", monospace';

/** The terminal is dark in both themes: programs choose colours for a dark ground. */
export const THEME: ITheme = {
  background: "#0e141b",
  foreground: "#dbe3ec",
  cursor: "#f0a93b",
  cursorAccent: "#0e141b",
  selectionBackground: "#5a4520aa",
  black: "#1d2733",
  red: "#ff7b72",
  green: "#6fd08c",
  yellow: "#f0b95c",
  blue: "#6cb0ff",
  magenta: "#d6a0ff",
  cyan: "#5fd3d8",
  white: "#c5d0dc",
  brightBlack: "#6b7a8c",
  brightRed: "#ffa198",
  brightGreen: "#8fe3a8",
  brightYellow: "#ffd58a",
  brightBlue: "#9accff",
  brightMagenta: "#e6c2ff",
  brightCyan: "#8fe9ec",
  brightWhite: "#f5f8fb",
};
