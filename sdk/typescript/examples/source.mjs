// The source: offers an instance, and asks for a ticket for each machine of ADIT_TARGETS once it has cooled down.
import { TicketInstanceManager } from "@adit/tickets";
import { certs, ended, logger, milliseconds, panelUrl, scope } from "./settings.mjs";

const targets = (process.env.ADIT_TARGETS ?? "").split(",").filter(Boolean);

const manager = new TicketInstanceManager({
  panelUrl,
  certs,
  scope,
  transport: { strategies: ["relay"], preferred: "relay" },
  logger,
  instanceHeartbeatIntervalMs: milliseconds("ADIT_HEARTBEAT_MS", 60_000),
});

await manager.start();
const asking = setInterval(ask, milliseconds("ADIT_ASK_MS", 5_000));
await ended();
clearInterval(asking);
await manager.stop();

async function ask() {
  for (const target of targets) {
    try {
      const ticket = await manager.requestTicketForAgent(target);
      if (ticket) logger.info({ target }, "a ticket is in the target's inbox");
    } catch (err) {
      logger.warn({ err, target }, "no ticket: is the target assigned?");
    }
  }
}
