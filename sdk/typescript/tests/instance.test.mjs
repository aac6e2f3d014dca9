// The source's side against a real gateway.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TicketClient, TicketHttpError, TicketInstanceManager } from "@adit/tickets";
import { Gateway, RELAY, SCOPE } from "./gateway.mjs";
import { Journal, until } from "./journal.mjs";
import { listenInSilence, Wire } from "./wire.mjs";

const REGISTERED = "the instance is registered";

/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start();
});
after(() => gateway.stop());

/**
 * Makes the manager of a machine, for the length of a test.
 * @param {import("node:test").TestContext} t
 * @param {import("./gateway.mjs").Machine} machine
 * @param {Partial<import("@adit/tickets").TicketInstanceManagerOptions>} [options]
 */
function manage(t, machine, options) {
  const logger = new Journal();
  const basis = { panelUrl: machine.url, certs: machine.pem, scope: SCOPE, transport: RELAY, logger };
  const manager = new TicketInstanceManager({ ...basis, ...options });
  t.after(() => manager.stop());
  return { manager, logger };
}

/**
 * Starts the manager of a source, and assigns a target to its instance.
 * @param {import("node:test").TestContext} t
 * @param {string} name
 * @param {Partial<import("@adit/tickets").TicketInstanceManagerOptions>} [options]
 */
async function pair(t, name, options) {
  const source = await gateway.machine(`${name}-source`);
  const target = await gateway.machine(`${name}-target`);
  const { manager, logger } = manage(t, source, options);
  await manager.start();
  await gateway.assign(target, manager.getInstanceId() ?? "");
  return { source, target, manager, logger };
}

test("an instance is registered at the start, and taken back at the stop", async (t) => {
  // TIX-60
  const machine = await gateway.machine("starts");
  const { manager } = manage(t, machine);
  assert.deepEqual([manager.isReady(), manager.getInstanceId()], [false, null]);
  await manager.start();
  const [instance] = await gateway.instances(machine);
  assert.deepEqual([manager.isReady(), manager.getInstanceId()], [true, instance.instanceId]);
  assert.deepEqual([instance.scope, instance.transport], [SCOPE, RELAY]);
  await manager.stop();
  assert.deepEqual(await gateway.instances(machine), []);
  assert.deepEqual([manager.isReady(), manager.getInstanceId()], [false, null]);
});

test("an instance is registered with a P12 bundle", async (t) => {
  const machine = await gateway.machine("bundled");
  const { manager } = manage(t, machine, { certs: machine.p12 });
  await manager.start();
  assert.equal((await gateway.instances(machine)).length, 1);
});

test("a manager that was stopped starts again", async (t) => {
  const machine = await gateway.machine("restarts");
  const { manager } = manage(t, machine);
  await manager.start();
  await manager.start();
  await manager.stop();
  await manager.stop();
  await manager.start();
  assert.equal((await gateway.instances(machine)).length, 1);
});

test("a start that the gateway refuses fails, and runs nothing", async (t) => {
  const machine = await gateway.machine("incapable", []);
  const { manager } = manage(t, machine);
  await assert.rejects(manager.start(), { name: "TicketHttpError", statusCode: 403 });
  assert.equal(await manager.requestTicketForAgent("anybody"), null);
  await gateway.operate("PUT", `/api/tickets/capabilities/${machine.label}`, { capabilities: [SCOPE] });
  await manager.start();
  assert(manager.isReady());
});

test("a heartbeat says that the source is there", async (t) => {
  const machine = await gateway.machine("beats");
  const { manager } = manage(t, machine, { instanceHeartbeatIntervalMs: 20 });
  await manager.start();
  const [first] = await gateway.instances(machine);
  await until("a heartbeat", async () => {
    const [now] = await gateway.instances(machine);
    return now.lastHeartbeat > first.lastHeartbeat;
  });
});

test("a target cools down, another does not, and force asks all the same", async (t) => {
  // TIX-60
  const { source, target, manager } = await pair(t, "cools");
  const other = await gateway.machine("cools-other");
  await gateway.assign(other, manager.getInstanceId() ?? "");
  const first = await manager.requestTicketForAgent(target.label);
  assert.match(first ?? "", /^[0-9a-f]{64}$/);
  assert.equal(await manager.requestTicketForAgent(target.label), null);
  assert.match((await manager.requestTicketForAgent(other.label)) ?? "", /^[0-9a-f]{64}$/);
  const forced = await manager.requestTicketForAgent(target.label, true);
  assert.notEqual(forced, first);
  const inbox = await target.client.fetchInbox();
  assert.deepEqual(new Set(inbox.map(({ id }) => id)), new Set([first, forced]));
  assert.equal(inbox[0]?.source, source.label);
});

test("a target has cooled down when its time is over", async (t) => {
  const { target, manager } = await pair(t, "cooled", { ticketCooldownMs: 50 });
  assert(await manager.requestTicketForAgent(target.label));
  await until("the next ticket", () => manager.requestTicketForAgent(target.label));
});

test("of two requests at once one gets a ticket", async (t) => {
  const { target, manager } = await pair(t, "twice");
  const both = await Promise.all([1, 2].map(() => manager.requestTicketForAgent(target.label)));
  assert.equal(both.filter((id) => id !== null).length, 1);
});

test("a target does not cool down from a ticket that was refused", async (t) => {
  const { manager } = await pair(t, "refused");
  const stranger = await gateway.machine("refused-stranger");
  const refusal = { name: "TicketHttpError", statusCode: 404 };
  await assert.rejects(manager.requestTicketForAgent(stranger.label), refusal);
  await gateway.assign(stranger, manager.getInstanceId() ?? "");
  assert(await manager.requestTicketForAgent(stranger.label));
});

test("an instance that an operator deleted is registered again, with another id", async (t) => {
  // TIX-60
  const machine = await gateway.machine("deleted");
  const { manager, logger } = manage(t, machine, { instanceHeartbeatIntervalMs: 20 });
  await manager.start();
  const first = manager.getInstanceId();
  await gateway.operate("DELETE", `/api/tickets/instances/${first}`);
  await until("another instance", () => manager.isReady() && manager.getInstanceId() !== first);
  const [instance] = await gateway.instances(machine);
  assert.equal(instance.instanceId, manager.getInstanceId());
  assert.equal(logger.count(REGISTERED), 2);
});

test("an instance is registered again once its source may", async (t) => {
  const machine = await gateway.machine("regains");
  const { manager, logger } = manage(t, machine, { instanceHeartbeatIntervalMs: 20 });
  await manager.start();
  const path = `/api/tickets/capabilities/${machine.label}`;
  await gateway.operate("PUT", path, { capabilities: [] });
  await until("the loss", () => !manager.isReady());
  await until("a refusal", () => logger.entries.some(({ fields }) => fields.err instanceof TicketHttpError));
  await gateway.operate("PUT", path, { capabilities: [SCOPE] });
  await until("the instance", () => manager.isReady());
});

test("a gateway that was away for a while finds its instance where it was", async (t) => {
  const machine = await gateway.machine("away");
  const wire = await Wire.to(t, gateway.machines);
  const { manager, logger } = manage(t, machine, { panelUrl: wire.url, instanceHeartbeatIntervalMs: 20 });
  await manager.start();
  wire.cut();
  await until("failed heartbeats", () => logger.count("the gateway did not take the instance's heartbeat") > 1);
  wire.mend();
  const [before] = await gateway.instances(machine);
  await until("a heartbeat", async () => (await gateway.instances(machine))[0].lastHeartbeat > before.lastHeartbeat);
  assert.equal(logger.count(REGISTERED), 1);
});

test("a stop ends a start that waits for an answer", async (t) => {
  const machine = await gateway.machine("waits");
  const { url, dialled } = await listenInSilence(t);
  const { manager } = manage(t, machine, { panelUrl: url });
  const starting = manager.start();
  await dialled;
  await Promise.all([manager.stop(), assert.rejects(starting, { name: "AbortError" })]);
});

test("a stop goes on when the gateway is away", async (t) => {
  const machine = await gateway.machine("left");
  const wire = await Wire.to(t, gateway.machines);
  const { manager, logger } = manage(t, machine, { panelUrl: wire.url });
  await manager.start();
  wire.cut();
  await manager.stop();
  assert.equal(logger.entries.at(-1)?.level, "warn");
});

test("by default heartbeats come each minute, and a target cools down for two", async (t) => {
  // TIX-60
  const machine = await gateway.machine("defaults");
  const offered = { ok: true, instanceId: "1f", instanceScope: `${SCOPE}:1f` };
  const mock = (/** @type {keyof TicketClient} */ name, /** @type {object} */ answer) =>
    t.mock.method(TicketClient.prototype, name, async () => answer).mock;
  mock("registerInstance", offered);
  mock("deregisterInstance", {});
  const tickets = mock("requestTicket", { ok: true, ticket: { id: "a1" } });
  const heartbeats = mock("sendInstanceHeartbeat", {});
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { manager } = manage(t, machine);
  await manager.start();
  /** @param {number} ms */
  const pass = async (ms) => {
    t.mock.timers.tick(ms);
    await new Promise((settled) => setImmediate(settled));
  };
  assert.equal(await manager.requestTicketForAgent("beta"), "a1");
  await pass(59_999);
  assert.equal(heartbeats.callCount(), 0);
  await pass(1);
  assert.equal(heartbeats.callCount(), 1);
  await pass(59_999);
  assert.deepEqual([heartbeats.callCount(), await manager.requestTicketForAgent("beta")], [1, null]);
  await pass(1);
  assert.deepEqual([heartbeats.callCount(), await manager.requestTicketForAgent("beta")], [2, "a1"]);
  assert.equal(tickets.callCount(), 2);
  await manager.stop();
  await pass(600_000);
  assert.equal(heartbeats.callCount(), 2);
});
