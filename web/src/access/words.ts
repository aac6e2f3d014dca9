import type { AccessRequest, Grant } from "../api/types";

/** On what a grant is, as the gateway says it in words. */
export function where(grant: Pick<Grant, "on">): string {
  return grant.on === "everything" ? "all machines" : grant.on;
}

/** When a grant counts, in words; empty for always. */
export function when(conditions: Grant["conditions"]): string {
  if (!conditions) return "";
  const words = [
    conditions.hours ?? "",
    conditions.networks?.length ? `from ${conditions.networks.join(" or ")}` : "",
    conditions.secondFactorWithinSeconds ? `second factor within ${length(conditions.secondFactorWithinSeconds)}` : "",
    conditions.approval ? "after approval" : "",
  ];
  return words.filter(Boolean).join(", ");
}

/** How a request for access stands. */
export function stands({ state, decidedBy }: Pick<AccessRequest, "state" | "decidedBy">): string {
  const word = state === "pending" ? "waits" : state;
  return decidedBy ? `${word} by ${decidedBy}` : word;
}

/** A length of time in its largest whole unit. */
export function length(seconds: number): string {
  const units: [number, string][] = [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ];
  const [size, name] = units.find(([size]) => seconds >= size && seconds % size === 0) ?? [1, "second"];
  const count = seconds / size;
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
