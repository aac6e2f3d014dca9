// How long the target's side waits by default, by a clock that the test moves.
import assert from "node:assert/strict";
import { test } from "node:test";
import { TicketHttpError, TicketSessionManager } from "@adit/tickets";
import { Journal, States } from "./journal.mjs";

const NOW = Date.parse("2030-01-01T00:00:00.000Z");
const ENDS = { scope: "shell:connect", instanceId: "1f", source: "alpha", target: "beta" };
/** @type {import("@adit/tickets").TransportInfo} */
const TRANSPORT = { strategies: ["relay"] };

/** A gateway that answers what the test says, and notes when it was called. */
class Desk {
  /** @type {[string, ...unknown[]][]} */
  calls = [];
  /** @type {import("@adit/tickets").TicketInboxEntry[] | Error} */
  inbox = [];
  /** @type {import("@adit/tickets").SessionHeartbeatResult | Error} */
  heartbeat = { authorized: true };
  /** @type {Error | null} */
  refusal = null;

  /**
   * Puts a ticket into the inbox.
   * @param {string} id
   * @param {number} ttlMs
   */
  put(id, ttlMs) {
    const expiresAt = new Date(Date.now() + ttlMs).toISOString();
    this.inbox = [...(Array.isArray(this.inbox) ? this.inbox : []), { id, ...ENDS, expiresAt, transport: TRANSPORT }];
  }

  fetchInbox = async () => this.#answer(this.inbox, "inbox");
  sendSessionHeartbeat = async () => this.#answer(this.heartbeat, "heartbeat");
  validateTicket = async (/** @type {string} */ id) =>
    this.#answer(this.refusal ?? { valid: /** @type {const} */ (true), ...ENDS, transport: TRANSPORT }, "validate", id);
  reportSessionCreation = async (/** @type {string} */ ticketId) => this.#answer(opened(ticketId), "create", ticketId);
  updateSessionStatus = async (/** @type {string} */ _, /** @type {string} */ status) =>
    this.#answer(session("a1"), "status", status);

  /** @param {string} name */
  count(name) {
    return this.calls.filter(([call]) => call === name).length;
  }

  /**
   * @template T
   * @param {T | Error} answer
   * @param {[string, ...unknown[]]} call
   */
  #answer(answer, ...call) {
    this.calls.push(call);
    if (answer instanceof Error) throw answer;
    return answer;
  }
}

/**
 * @param {string} ticketId
 * @returns {import("@adit/tickets").SessionInfo}
 */
function session(ticketId) {
  const at = new Date(NOW).toISOString();
  const times = { createdAt: at, lastActivityAt: at };
  return { sessionId: "5e", ticketId, ...ENDS, ...times, status: "active", reconnectGraceSeconds: 60 };
}

/**
 * @param {string} ticketId
 * @returns {import("@adit/tickets").ReportSessionCreationResult}
 */
function opened(ticketId) {
  return { ok: true, session: session(ticketId) };
}

/** Lets everything happen that waits for no clock. */
const settle = () => new Promise((settled) => setImmediate(settled));

/**
 * Starts a manager with its defaults under a clock of the test.
 * @param {import("node:test").TestContext} t
 */
async function managed(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOW });
  const desk = new Desk();
  const states = new States();
  const manager = new TicketSessionManager({
    ticketClient: desk,
    scope: ENDS.scope,
    logger: new Journal(),
    onStateChange: states.note,
  });
  t.after(() => manager.stop());
  await manager.start();
  await settle();
  /** @param {number} ms */
  const pass = async (ms) => {
    t.mock.timers.tick(ms);
    await settle();
  };
  return { desk, states, manager, pass };
}

/**
 * Does the same, and opens a session.
 * @param {import("node:test").TestContext} t
 */
async function authorized(t) {
  const all = await managed(t);
  all.desk.put("a1", 30_000);
  await all.pass(3_000);
  assert(all.manager.isAuthorized());
  all.desk.inbox = [];
  return all;
}

test("the inbox is looked into each 3 s", async (t) => {
  // TIX-60
  const { desk, pass } = await managed(t);
  assert.equal(desk.count("inbox"), 1);
  await pass(2_999);
  assert.equal(desk.count("inbox"), 1);
  await pass(1);
  assert.equal(desk.count("inbox"), 2);
});

test("a look that failed is followed by the next after 10 s", async (t) => {
  // TIX-60
  const { desk, pass } = await managed(t);
  desk.inbox = new Error("away");
  await pass(3_000);
  await pass(9_999);
  assert.equal(desk.count("inbox"), 2);
  await pass(1);
  assert.equal(desk.count("inbox"), 3);
});

test("a ticket that was refused is followed by the next look after 10 s", async (t) => {
  const { desk, pass } = await managed(t);
  desk.refusal = new TicketHttpError("Invalid ticket", 401, "ticket.invalid");
  desk.put("a1", 30_000);
  await pass(3_000);
  await pass(9_999);
  assert.deepEqual([desk.count("inbox"), desk.count("validate")], [2, 1]);
  await pass(1);
  assert.deepEqual([desk.count("inbox"), desk.count("validate")], [3, 2]);
});

test("a ticket with less than 5 s left is not used, and one with 5 s is", async (t) => {
  // TIX-60
  const { desk, manager, pass } = await managed(t);
  desk.put("short", 3_000 + 4_999);
  await pass(3_000);
  assert.deepEqual([manager.getState(), desk.count("validate")], ["waiting", 0]);
  desk.put("enough", 3_000 + 5_000);
  await pass(3_000);
  assert.deepEqual(desk.calls.slice(-2), [
    ["validate", "enough"],
    ["create", "enough"],
  ]);
});

test("the freshest ticket is used, wherever it stands in the inbox", async (t) => {
  // TIX-60
  const { desk, manager, pass } = await managed(t);
  desk.put("early", 20_000);
  desk.put("late", 30_000);
  desk.put("middle", 25_000);
  await pass(3_000);
  assert.equal(manager.getSessionInfo()?.ticketId, "late");
});

test("heartbeats come each 60 s, and the inbox is left alone meanwhile", async (t) => {
  // TIX-60
  const { desk, pass } = await authorized(t);
  await pass(59_999);
  assert.deepEqual([desk.count("heartbeat"), desk.count("inbox")], [0, 2]);
  await pass(1);
  assert.deepEqual([desk.count("heartbeat"), desk.count("inbox")], [1, 2]);
  await pass(60_000);
  assert.equal(desk.count("heartbeat"), 2);
});

test("the fifth failed heartbeat in a row is the grace, which the gateway is told", async (t) => {
  // TIX-60
  const { desk, manager, pass } = await authorized(t);
  desk.heartbeat = new Error("away");
  for (let failures = 1; failures <= 4; failures++) await pass(60_000);
  assert.deepEqual([manager.getState(), desk.count("heartbeat")], ["authorized", 4]);
  await pass(60_000);
  assert.equal(manager.getState(), "grace");
  assert.deepEqual(desk.calls.at(-1), ["status", "grace"]);
});

test("in grace heartbeats come each 10 s, so that its minute is not missed", async (t) => {
  const { desk, manager, pass } = await authorized(t);
  desk.heartbeat = new Error("away");
  for (let failures = 1; failures <= 5; failures++) await pass(60_000);
  await pass(9_999);
  assert.equal(desk.count("heartbeat"), 5);
  desk.heartbeat = { authorized: true };
  await pass(1);
  assert.deepEqual(desk.calls.slice(-2), [["heartbeat"], ["status", "active"]]);
  assert(manager.isAuthorized());
});

test("a good heartbeat begins the count of failed ones anew", async (t) => {
  const { desk, manager, pass } = await authorized(t);
  for (let round = 1; round <= 3; round++) {
    desk.heartbeat = new Error("away");
    for (let failures = 1; failures <= 4; failures++) await pass(60_000);
    desk.heartbeat = { authorized: true };
    await pass(60_000);
  }
  assert.deepEqual([manager.getState(), desk.count("status")], ["authorized", 0]);
});

for (const status of [401, 403]) {
  test(`the first heartbeat that is answered ${status} ends the session as unauthorized`, async (t) => {
    const { desk, states, manager, pass } = await authorized(t);
    desk.heartbeat = new TicketHttpError("refused", status);
    await pass(60_000);
    assert.deepEqual(states.told, [["waiting"], ["authorized"], ["terminated", "unauthorized"]]);
    assert.deepEqual([manager.getSessionInfo(), desk.count("heartbeat"), desk.count("status")], [null, 1, 0]);
  });

  test(`a heartbeat in grace that is answered ${status} ends the session as unauthorized`, async (t) => {
    const { desk, states, pass } = await authorized(t);
    desk.heartbeat = new Error("away");
    for (let failures = 1; failures <= 5; failures++) await pass(60_000);
    desk.heartbeat = new TicketHttpError("refused", status);
    await pass(10_000);
    assert.deepEqual(states.told, [["waiting"], ["authorized"], ["grace"], ["terminated", "unauthorized"]]);
  });
}

for (const code of ["CERTIFICATE_REQUIRED", "CERTIFICATE_UNKNOWN", "CERTIFICATE_REVOKED"]) {
  test(`a heartbeat that ends in a TLS alert is one that failed: ${code}`, async (t) => {
    const { desk, states, pass } = await authorized(t);
    desk.heartbeat = Object.assign(new Error("of TLS"), { code: `ERR_SSL_TLSV13_ALERT_${code}` });
    for (let failures = 1; failures <= 4; failures++) await pass(60_000);
    assert.deepEqual(states.told, [["waiting"], ["authorized"]]);
    await pass(60_000);
    assert.deepEqual(states.told, [["waiting"], ["authorized"], ["grace"]]);
  });
}

test("after a session that is over the inbox is looked into again after 3 s", async (t) => {
  const { desk, states, pass } = await authorized(t);
  desk.heartbeat = { authorized: false, reason: "source_revoked" };
  await pass(60_000);
  assert.deepEqual(states.told, [["waiting"], ["authorized"], ["terminated", "source_revoked"]]);
  await pass(2_999);
  assert.equal(desk.count("inbox"), 2);
  await pass(1);
  assert.equal(desk.count("inbox"), 3);
  assert.deepEqual(states.told, [["waiting"], ["authorized"], ["terminated", "source_revoked"], ["waiting"]]);
});

test("nothing happens after a stop, however long it is", async (t) => {
  const { desk, manager, pass } = await authorized(t);
  await manager.stop();
  const calls = desk.calls.length;
  await pass(600_000);
  assert.equal(desk.calls.length, calls);
});

test("a session that opens while it is stopped is not told", async (t) => {
  const { desk, states, manager, pass } = await managed(t);
  /** @type {(answer: import("@adit/tickets").ReportSessionCreationResult) => void} */
  let open = () => {};
  desk.reportSessionCreation = () => new Promise((answer) => (open = answer));
  desk.put("a1", 30_000);
  await pass(3_000);
  const stopped = manager.stop();
  open(opened("a1"));
  await stopped;
  assert.deepEqual([states.told, manager.getSessionId()], [[["waiting"], ["stopped"]], null]);
});
