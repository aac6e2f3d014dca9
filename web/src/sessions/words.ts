import type { Session } from "../api/types";

/** What runs in a session, in the words of a list. */
export function what(session: Pick<Session, "kind" | "command">): string {
  return session.kind === "exec" ? session.command.join(" ") : "shell";
}

const STATE_WORDS: Record<string, string> = { detached: "nobody here", reconnecting: "machine away" };

export function stateWord(state: Session["state"]): string {
  return STATE_WORDS[state] ?? state;
}
