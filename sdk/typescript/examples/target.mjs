// The target: waits for a ticket, opens its session, and says when it may work and when it may not.
import { createTicketDispatcher, TicketClient, TicketSessionManager } from "@adit/tickets";
import { certs, ended, logger, milliseconds, panelUrl, scope } from "./settings.mjs";

const dispatcher = createTicketDispatcher({ certs });
const manager = new TicketSessionManager({
  ticketClient: new TicketClient({ panelUrl, dispatcher, logger }),
  scope,
  logger,
  sessionHeartbeatIntervalMs: milliseconds("ADIT_HEARTBEAT_MS", 60_000),
  onStateChange(state) {
    const { source, instanceId } = manager.getSessionInfo() ?? {};
    if (state === "authorized") logger.info({ source, instanceId }, "work may begin");
    else logger.info({ state }, "no work now");
  },
});

await manager.start();
await ended();
await manager.stop();
await dispatcher.close();
