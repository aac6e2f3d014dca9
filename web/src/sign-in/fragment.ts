/** Takes the code out of the address, and out of the browser's history, before anything else can read it there. */
export function takeCode(): string | null {
  const found = new URLSearchParams(location.hash.slice(1)).get("code");
  if (found) history.replaceState(null, "", location.pathname + location.search);
  return found;
}
