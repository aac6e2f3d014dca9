// Links in terminal output come from whoever printed them. Only web addresses open, and never without showing the real host.

export interface WebLink {
  url: string;
  host: string;
  /** Whether the traffic to the host is readable on the way. */
  plain: boolean;
}

/** Reads a link of the terminal; null for anything that must not open. */
export function readLink(text: string): WebLink | null {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return null;
  // A name before the host is there to look like a host.
  if (url.username !== "" || url.password !== "") return null;
  return { url: url.href, host: url.host, plain: url.protocol === "http:" };
}
