import { ApiError, api, take } from "../api/client";
import { withProof } from "../sign-in/proof.svelte";
import { boundKey, prove } from "./bound-key";
import { isPassing, type Mode, Refused, type Target, type World } from "./connection";

/** The browser's own network, clock and dice. */
export const browserWorld: World = {
  async ticket(target: Target, mode: Mode) {
    const key = await boundKey();
    const bound = key ? { dpopJkt: key.thumbprint } : {};
    const body =
      "machine" in target ? { machine: target.machine, ...bound } : { session: target.session, mode, ...bound };
    try {
      const { ticket, url } = await withProof(() => take(api.POST("/api/v1/tickets", { body })));
      return { ticket, url, proof: key ? await prove(key, ticket, sameOrigin(url)) : "" };
    } catch (error) {
      // A code of `http.…` is a proxy's answer while the gateway is away.
      const said = error instanceof ApiError && error.status >= 400 && !error.code.startsWith("http.");
      if (said && !isPassing(error.code, target)) throw new Refused(error.code, error.message);
      throw error;
    }
  },
  open: (url) => new WebSocket(sameOrigin(url), "adit.terminal.v1"),
  now: () => performance.now(),
  wall: () => Date.now(),
  random: () => Math.random(),
};

/** The ticket names the gateway's address as it knows it; the page stays on the origin it came from. */
function sameOrigin(url: string): string {
  const address = new URL(url, location.href);
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${address.pathname}`;
}
