import { type ApiError, api, take, whenSignedOut } from "../api/client";
import { asApiError } from "../api/list.svelte";
import { live } from "../api/live.svelte";
import type { Me } from "../api/types";
import { route } from "./route.svelte";

/** Whether a page is for those who are not signed in. */
export function isDoor(path: string): boolean {
  return ["/sign-in", "/setup", "/welcome"].includes(path);
}

/** Who is signed in, and what they may see. */
class Account {
  me = $state.raw<Me | null>(null);
  error = $state.raw<ApiError | null>(null);

  constructor() {
    whenSignedOut(() => this.#leave());
  }

  async load(): Promise<void> {
    try {
      this.me = await take(api.GET("/api/v1/me"));
      this.error = null;
      live.start();
    } catch (error) {
      this.error = asApiError(error);
    }
  }

  /** Whether the person may do this on at least one machine. */
  may(capability: string): boolean {
    return this.me?.anywhere.includes(capability) ?? false;
  }

  /** Whether the person may do this everywhere: what belongs to no machine asks for that. */
  mayEverywhere(capability: string): boolean {
    return this.me?.capabilities.includes(capability) ?? false;
  }

  async signOut(): Promise<void> {
    await take(api.POST("/api/v1/sign-out", {}));
    this.#leave();
  }

  #leave(): void {
    live.stop();
    this.me = null;
    if (isDoor(route.path)) return;
    const here = route.path + (route.query.size > 0 ? `?${route.query}` : "");
    const back = here === "/" || here === "/machines" ? "" : `?back=${encodeURIComponent(here)}`;
    route.go(`/sign-in${back}`, { replace: true });
  }
}

export const account = new Account();
