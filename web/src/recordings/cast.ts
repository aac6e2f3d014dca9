// Reads asciicast v2: a header line, then one event a line, `[seconds, kind, data]`.

export interface CastEvent {
  at: number;
  kind: "output" | "resize" | "mark";
  data: string;
}

export interface Cast {
  cols: number;
  rows: number;
  events: CastEvent[];
  lengthSeconds: number;
}

const KINDS = new Map<unknown, CastEvent["kind"]>([
  ["o", "output"],
  ["r", "resize"],
  ["m", "mark"],
]);

/** Reads what is whole: a recording that was cut off in the middle of a line plays up to there. */
export function readCast(text: string): Cast {
  const lines = text.split("\n");
  const { width, height } = JSON.parse(lines[0] ?? "") as { width: number; height: number };
  const events: CastEvent[] = [];
  for (const line of lines.slice(1)) {
    const event = readEvent(line);
    if (event) events.push(event);
  }
  return { cols: width, rows: height, events, lengthSeconds: events.at(-1)?.at ?? 0 };
}

/** Reads the size of a resize event, `COLSxROWS`. */
export function readSize(data: string): { cols: number; rows: number } | null {
  const [cols, rows] = data.split("x").map(Number);
  return cols && rows ? { cols, rows } : null;
}

/** The number of the first event after `at`. */
export function eventAfter(events: CastEvent[], at: number): number {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((events[middle]?.at ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How much was printed in each of `count` equal parts, between 0 and 1. */
export function activity(cast: Cast, count: number): number[] {
  const parts = new Array<number>(count).fill(0);
  for (const { at, kind, data } of cast.events) {
    if (kind !== "output") continue;
    const part = Math.min(count - 1, Math.floor((at / (cast.lengthSeconds || 1)) * count));
    parts[part] = (parts[part] ?? 0) + data.length;
  }
  // A flood would leave everything else flat, so the height grows with the logarithm.
  const most = Math.log1p(Math.max(...parts));
  return parts.map((amount) => (most === 0 ? 0 : Math.log1p(amount) / most));
}

function readEvent(line: string): CastEvent | null {
  if (!line.startsWith("[")) return null;
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    return null;
  }
  if (!Array.isArray(event)) return null;
  const kind = KINDS.get(event[1]);
  return kind ? { at: Number(event[0]), kind, data: String(event[2]) } : null;
}
