import type { EnrolmentToken } from "../api/types";

/** What a token names whoever comes in with it. */
export function names(token: Pick<EnrolmentToken, "label" | "name">): string {
  return token.name ?? token.label ?? "its own host name";
}

export function tagWords(tags: Record<string, string>): string[] {
  return Object.entries(tags).map(([key, value]) => `${key}=${value}`);
}

/** Reads tags as a person types them, `env=prod role=web`; null where one is not a key and a value. */
export function readTags(text: string): Record<string, string> | null {
  const tags: Record<string, string> = {};
  for (const word of text.split(/[\s,]+/).filter(Boolean)) {
    const at = word.indexOf("=");
    if (at < 1 || at === word.length - 1) return null;
    tags[word.slice(0, at)] = word.slice(at + 1);
  }
  return tags;
}
