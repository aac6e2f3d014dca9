// Every call of the client against a real gateway: its answer, and its refusals.
import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { createTicketDispatcher, TicketClient, TicketHttpError } from "@adit/tickets";
import { Gateway, RELAY, SCOPE } from "./gateway.mjs";
import { Journal } from "./journal.mjs";
import { Wire } from "./wire.mjs";

const NOBODY = "0".repeat(32);
const NO_TICKET = "0".repeat(64);

/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start();
});
after(() => gateway.stop());

/**
 * Expects a refusal with a status, and with the gateway's own sentence.
 * @param {Promise<unknown>} call
 * @param {number} statusCode
 * @param {string} [code]
 */
async function refused(call, statusCode, code) {
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  assert(error instanceof TicketHttpError, String(error));
  assert.equal(error.statusCode, statusCode, error.message);
  assert.doesNotMatch(error.message, /^The gateway answered with status/);
  if (code) assert.equal(error.code, code);
}

/**
 * Calls the gateway once with certificates.
 * @param {import("@adit/tickets").CreateTicketDispatcherOptions} options
 */
async function inboxBy(options, panelUrl = gateway.machines) {
  const dispatcher = createTicketDispatcher(options);
  try {
    return await new TicketClient({ panelUrl, dispatcher, logger: new Journal() }).fetchInbox();
  } finally {
    await dispatcher.destroy();
  }
}

test("a machine is known by its PEM files", async () => {
  // TIX-60
  const { target, ask } = await gateway.pair("pem");
  const ticket = await ask();
  const inbox = await inboxBy({ certs: target.pem });
  assert.deepEqual(inbox, [{ ...ticket, transport: { strategies: ["relay"], preferred: "relay" } }]);
});

test("a machine is known by its P12 bundle, which says whom to trust as well", async () => {
  // TIX-60
  const { target, ask } = await gateway.pair("bundle");
  const ticket = await ask();
  for (const certs of [target.p12, { ...target.p12, caPath: target.pem.caPath }]) {
    assert.deepEqual(
      (await inboxBy({ certs })).map(({ id }) => id),
      [ticket.id],
    );
  }
});

test("a wrong password or a missing file is told when the dispatcher is made", async () => {
  const { pem, p12 } = await gateway.machine("broken");
  assert.throws(() => createTicketDispatcher({ certs: { ...p12, p12Password: "wrong" } }), /mac verify failure/);
  assert.throws(() => createTicketDispatcher({ certs: { ...pem, keyPath: "/nowhere/key.pem" } }), /ENOENT.*key\.pem/);
});

test("a gateway that another authority signed is not spoken to, unless the caller says so", async (t) => {
  const { pem } = await gateway.machine("trusting");
  const other = await Gateway.start();
  t.after(() => other.stop());
  const stranger = { ...pem, caPath: (await other.machine("stranger")).pem.caPath };
  await assert.rejects(inboxBy({ certs: stranger }), { code: /SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_/ });
  assert.deepEqual(await inboxBy({ certs: stranger, rejectUnauthorized: false }), []);
});

test("a certificate that is renewed in place counts at the next connection", async (t) => {
  const one = await gateway.machine("renewed");
  const other = await gateway.machine("renewed-other");
  const { instanceId } = await one.client.registerInstance(SCOPE, RELAY);
  const dispatcher = createTicketDispatcher({ certs: other.pem });
  t.after(() => dispatcher.destroy());
  const wire = await Wire.to(t, gateway.machines);
  const client = new TicketClient({ panelUrl: wire.url, dispatcher, logger: new Journal() });
  await refused(client.sendInstanceHeartbeat(instanceId), 404);
  for (const path of /** @type {const} */ (["certPath", "keyPath"])) await copyFile(one.pem[path], other.pem[path]);
  const gone = once(dispatcher, "disconnect");
  wire.cut();
  await gone;
  wire.mend();
  await client.sendInstanceHeartbeat(instanceId);
});

test("an instance is registered, and the same again", async () => {
  const { client } = await gateway.machine("offers");
  const offered = await client.registerInstance(SCOPE, RELAY);
  assert.match(offered.instanceId, /^[0-9a-f]{32}$/);
  assert.equal(offered.instanceScope, `${SCOPE}:${offered.instanceId}`);
  assert.deepEqual(await client.registerInstance(SCOPE, RELAY), offered);
});

test("an instance is refused by a wrong transport, capability or scope", async () => {
  const { client } = await gateway.machine("offers-not", []);
  const wrong = /** @type {any} */ ({ strategies: ["teleport"] });
  await refused(client.registerInstance(SCOPE, wrong), 400, "request.invalid");
  await refused(client.registerInstance(SCOPE, RELAY), 403, "access.capability_missing");
  await refused(client.registerInstance("shell:unknown", RELAY), 404);
});

test("an instance is heard of and taken back by its owner alone", async () => {
  const { client } = await gateway.machine("owner");
  const other = await gateway.machine("other");
  const { instanceId } = await client.registerInstance(SCOPE, RELAY);
  await client.sendInstanceHeartbeat(instanceId);
  await refused(other.client.sendInstanceHeartbeat(instanceId), 404);
  await refused(other.client.deregisterInstance(instanceId), 404);
  await client.deregisterInstance(instanceId);
  await refused(client.sendInstanceHeartbeat(instanceId), 404);
  await refused(client.deregisterInstance(instanceId), 404);
  await refused(client.deregisterInstance("../scopes"), 404);
});

test("a ticket is given to the source, for half a minute", async () => {
  const { source, target, instanceId } = await gateway.pair("asks");
  const answer = await source.client.requestTicket(SCOPE, instanceId, target.label);
  const { id, expiresAt } = answer.ticket;
  const ends = { scope: SCOPE, instanceId, source: source.label, target: target.label };
  assert.deepEqual(answer, { ok: true, ticket: { id, ...ends, expiresAt } });
  assert.match(id, /^[0-9a-f]{64}$/);
  const life = Date.parse(expiresAt) - Date.now();
  assert(life > 0 && life <= 30_000, `${life} ms`);
});

test("a ticket is refused where the target may not be let in, and where there were too many", async () => {
  const { source, target, instanceId, ask } = await gateway.pair("asks-not");
  const stranger = await gateway.machine("asks-not-stranger");
  await refused(source.client.requestTicket(SCOPE, instanceId, stranger.label), 404);
  await refused(source.client.requestTicket(SCOPE, NOBODY, target.label), 404);
  await refused(target.client.requestTicket(SCOPE, instanceId, target.label), 404);
  for (let tickets = 0; tickets < 10; tickets++) await ask();
  await refused(ask(), 429, "ticket.rate");
});

test("a ticket opens once, and its session once", async () => {
  const { source, target, instanceId, ask } = await gateway.pair("opens");
  const ticket = await ask();
  await refused(target.client.reportSessionCreation(ticket.id), 400, "ticket.state");
  await refused(source.client.validateTicket(ticket.id), 401, "ticket.invalid");
  const ends = { scope: SCOPE, instanceId, source: source.label, target: target.label };
  const valid = await target.client.validateTicket(ticket.id);
  assert.deepEqual(valid, { valid: true, ...ends, transport: { strategies: ["relay"], preferred: "relay" } });
  await refused(target.client.validateTicket(ticket.id), 401, "ticket.invalid");
  assert.deepEqual(await target.client.fetchInbox(), []);

  const answer = await target.client.reportSessionCreation(ticket.id);
  const { sessionId, createdAt } = answer.session;
  assert.match(sessionId, /^[0-9a-f]{32}$/);
  const times = { createdAt, lastActivityAt: createdAt };
  const rest = { status: "active", reconnectGraceSeconds: 60 };
  assert.deepEqual(answer, { ok: true, session: { sessionId, ticketId: ticket.id, ...ends, ...times, ...rest } });
  await refused(target.client.reportSessionCreation(ticket.id), 409);
});

test("what is no ticket is refused as one that was used", async () => {
  const { client } = await gateway.machine("guesses");
  const refusal = { statusCode: 401, code: "ticket.invalid", message: "Invalid ticket" };
  await assert.rejects(client.validateTicket(NO_TICKET), refusal);
  await refused(client.reportSessionCreation(NO_TICKET), 400, "ticket.state");
});

test("an answer that is lost on the way does not lose the ticket", async (t) => {
  const { target, ask } = await gateway.pair("loses");
  const wire = await Wire.to(t, gateway.machines);
  const client = target.clientAt(wire.url);
  const ticket = await ask();
  await client.fetchInbox();
  wire.loseNextAnswer();
  assert.equal((await client.validateTicket(ticket.id)).valid, true);
});

test("a session is heard of by its ends alone, and told why it is over", async () => {
  const { source, target, ask } = await gateway.pair("hears");
  const { id } = await ask();
  await target.client.validateTicket(id);
  const { sessionId } = (await target.client.reportSessionCreation(id)).session;
  assert.deepEqual(await target.client.sendSessionHeartbeat(sessionId), { authorized: true });
  assert.deepEqual(await source.client.sendSessionHeartbeat(sessionId), { authorized: true });
  const stranger = await gateway.machine("hears-not");
  await refused(stranger.client.sendSessionHeartbeat(sessionId), 404);
  await gateway.operate("DELETE", `/api/tickets/sessions/${sessionId}`);
  const over = { authorized: false, reason: "admin_killed" };
  assert.deepEqual(await target.client.sendSessionHeartbeat(sessionId), over);
});

test("a session goes into grace and comes back while it lives", async () => {
  const { target, ask } = await gateway.pair("grace");
  const { id } = await ask();
  await target.client.validateTicket(id);
  const { sessionId } = (await target.client.reportSessionCreation(id)).session;
  assert.equal((await target.client.updateSessionStatus(sessionId, "grace")).status, "grace");
  assert.equal((await target.client.updateSessionStatus(sessionId, "active")).status, "active");
  const dead = /** @type {any} */ ("dead");
  await refused(target.client.updateSessionStatus(sessionId, dead), 400, "request.invalid");
  await refused(target.client.updateSessionStatus(NOBODY, "grace"), 404);
  await gateway.operate("DELETE", `/api/tickets/sessions/${sessionId}`);
  await refused(target.client.updateSessionStatus(sessionId, "active"), 409);
});

test("a revoked certificate opens nothing", async () => {
  // TIX-1
  const machine = await gateway.machine("revoked");
  assert.deepEqual(await machine.client.fetchInbox(), []);
  await gateway.revoke(machine);
  await refused(machine.client.fetchInbox(), 401);
});
