const BASE = "/ui";

/** Where the console is: the path below /ui, the query and the fragment. Everything shown can be reached by an address. */
class Route {
  path = $state(here());
  query = $state.raw(new URLSearchParams(location.search));
  hash = $state(location.hash);

  constructor() {
    addEventListener("popstate", () => this.#read());
    addEventListener("hashchange", () => this.#read());
  }

  /** The parts of the path: `/sessions/abc` is `["sessions", "abc"]`. */
  get parts(): string[] {
    return this.path
      .split("/")
      .filter((part) => part !== "")
      .map(decodeURIComponent);
  }

  go(path: string, options: { replace?: boolean } = {}): void {
    const url = BASE + path;
    if (options.replace) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
    this.#read();
  }

  /** Changes parts of the query and stays on the page; an empty value takes the key out. */
  set(changes: Record<string, string | null | undefined>): void {
    const query = new URLSearchParams(this.query);
    for (const [key, value] of Object.entries(changes)) {
      if (value) query.set(key, value);
      else query.delete(key);
    }
    const text = query.toString();
    this.go(this.path + (text ? `?${text}` : ""), { replace: true });
  }

  #read(): void {
    this.path = here();
    this.query = new URLSearchParams(location.search);
    this.hash = location.hash;
  }
}

export const route = new Route();

/** Turns a click on one of the console's own links into a change of route. For `onclick` on the root. */
export function followLink(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return;
  const anchor = event.target instanceof Element ? event.target.closest("a") : null;
  if (!anchor || anchor.target || anchor.hasAttribute("download") || anchor.origin !== location.origin) return;
  if (!anchor.pathname.startsWith(`${BASE}/`)) return;
  event.preventDefault();
  route.go(anchor.pathname.slice(BASE.length) + anchor.search + anchor.hash);
}

function here(): string {
  const path = location.pathname.slice(BASE.length);
  return path === "" ? "/" : path;
}
