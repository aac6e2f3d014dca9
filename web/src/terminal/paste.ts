// What a paste may do. A clipboard is not trusted: text that ends the bracketed paste by itself would be typed as commands.

export interface PastePlan {
  /** What is shown and sent: no control characters but tab and line ends. */
  text: string;
  /** Why the person is asked first; null when the paste goes straight to the shell. */
  ask: "runs-at-once" | "large" | null;
  lines: number;
}

const LARGE_LINES = 200;
const LARGE_CHARACTERS = 16 * 1024; // about what a person can have meant to paste without a look at it
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape is what is looked for.
const MARKERS = /(?:\u001b\[|\u009b)20[01]~/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that are taken out.
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001a\u001c-\u001f\u007f-\u009a\u009c-\u009f]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: what starts an escape sequence.
const ESCAPES = /[\u001b\u009b]/g;

/** Cleans the text of a paste and decides whether to ask. `bracketed`: the program takes a paste as one piece. */
export function planPaste(clipboard: string, bracketed: boolean): PastePlan {
  const text = clean(clipboard);
  const lines = countLines(text);
  const large = text.length > LARGE_CHARACTERS || lines > LARGE_LINES;
  if (!bracketed && lines > 1) return { text, lines, ask: "runs-at-once" };
  return { text, lines, ask: large ? "large" : null };
}

/** The bytes that type a cleaned text: line ends as the Enter key sends them, within the brackets if the program asked for them. */
export function pasteBytes(text: string, bracketed: boolean): Uint8Array {
  const typed = text.replace(/\r?\n/g, "\r");
  return new TextEncoder().encode(bracketed ? `\u001b[200~${typed}\u001b[201~` : typed);
}

/** Takes out markers whole, also those that appear when something within them is taken out, and then every escape. */
function clean(text: string): string {
  let cleaned = text.replace(CONTROLS, "");
  for (let next = cleaned.replace(MARKERS, ""); next !== cleaned; next = cleaned.replace(MARKERS, "")) cleaned = next;
  return cleaned.replace(ESCAPES, "");
}

/** Lines as a shell sees them: a line end at the end runs the line, so it counts. */
function countLines(text: string): number {
  return text.split(/\r\n|\r|\n/).length;
}
