import type { Command } from "../api/types";

type Named = Pick<Command, "name" | "description" | "category">;

/** The commands that have every word of a text, the best first: those with it in their name. Without a text all, by category and name. */
export function found<T extends Named>(commands: T[], text: string): T[] {
  const words = plain(text).split(" ").filter(Boolean);
  if (words.length === 0) return [...commands].sort(compared);
  const scored = commands.map((command) => ({ command, score: score(command, words) }));
  return scored
    .filter((one) => one.score > 0)
    .sort((a, b) => b.score - a.score)
    .map((one) => one.command);
}

/** By category, in the order in which categories first come. */
export function grouped<T extends Named>(commands: T[]): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const command of commands) {
    const category = command.category || UNNAMED;
    groups.set(category, [...(groups.get(category) ?? []), command]);
  }
  return [...groups];
}

const UNNAMED = "other";

/** What has no category stands last. */
function compared(a: Named, b: Named): number {
  return (
    Number(!a.category) - Number(!b.category) || a.category.localeCompare(b.category) || a.name.localeCompare(b.name)
  );
}

function score({ name, description, category }: Named, words: string[]): number {
  let sum = 0;
  for (const word of words) {
    const one = plain(name).startsWith(word)
      ? 4
      : plain(name).includes(word)
        ? 3
        : plain(category).includes(word)
          ? 2
          : plain(description).includes(word)
            ? 1
            : 0;
    if (one === 0) return 0;
    sum += one;
  }
  return sum;
}

function plain(text: string): string {
  return text
    .toLowerCase()
    .replace(/[_\-\s]+/g, " ")
    .trim();
}
