import { api, take } from "../api/client";
import type { TerminalPane } from "./pane.svelte";

/** Ends the session for everybody: over its own connection, or past it while that is away. */
export async function endSession(pane: TerminalPane): Promise<void> {
  if (pane.current.kind === "live") {
    pane.connection.end();
  } else if (pane.sessionId) {
    await take(api.DELETE("/api/v1/sessions/{session}", { params: { path: { session: pane.sessionId } } }));
  }
}
