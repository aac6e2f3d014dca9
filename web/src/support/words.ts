import type { Support } from "../api/types";

/** How support stands, in a few words. */
export function said(support: Support): string {
  switch (support.state) {
    case "open":
      return "Waits for somebody to use it";
    case "asked":
      return "The person is asked now";
    case "agreed":
      return "The person said yes";
    case "live":
      return "Live";
    case "expired":
      return "Ran out unused";
    default:
      return ENDS[support.end?.code ?? ""] ?? support.end?.sentence ?? "Over";
  }
}

/** Whether nothing more comes of it. */
export function isOver(support: Support): boolean {
  return support.state === "ended" || support.state === "expired";
}

const ENDS: Record<string, string> = {
  "support.declined": "The person said no",
  "support.no_answer": "Nobody answered",
  "support.stopped": "The person ended it",
  "support.withdrawn": "Taken back, or ended from here",
  "support.expired": "Its time was over",
  "session.exited": "The shell ended",
};
