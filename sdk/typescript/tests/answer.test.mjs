// What the client makes of answers that no gateway of ours gives.
import assert from "node:assert/strict";
import { test } from "node:test";
import { TicketClient, TicketHttpError, TicketResponseError } from "@adit/tickets";
import { MockAgent } from "undici";
import { Journal } from "./journal.mjs";

const URL = "https://gateway.example";
const ENDS = { scope: "shell:connect", instanceId: "1f", source: "alpha", target: "beta" };
const TICKET = { id: "a1", ...ENDS, expiresAt: "2030-01-01T00:00:30.000Z" };
const TRANSPORT = {
  strategies: ["direct"],
  direct: { host: "edge.example", port: 2222 },
  allowedNetworks: ["10.0.0.0/8"],
};
const TIMES = { createdAt: "2030-01-01T00:00:00.000Z", lastActivityAt: "2030-01-01T00:00:00.000Z" };
const SESSION = { sessionId: "5e", ticketId: "a1", ...ENDS, ...TIMES, status: "active", reconnectGraceSeconds: 60 };

/**
 * Makes a client whose next call is answered with a body.
 * @param {unknown} body
 * @param {number} [status]
 */
function answered(body, status = 200) {
  const dispatcher = new MockAgent();
  dispatcher.disableNetConnect();
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const all = { path: () => true, method: () => true };
  dispatcher
    .get(URL)
    .intercept(/** @type {any} */ (all))
    .reply(status, text);
  return new TicketClient({ panelUrl: URL, dispatcher, logger: new Journal() });
}

/** @type {[string, unknown, (client: TicketClient) => Promise<unknown>, RegExp][]} */
const WRONG = [
  ["no JSON", "<html>", (client) => client.fetchInbox(), /the answer to GET \/api\/tickets\/inbox is no object/],
  ["a list for an object", [], (client) => client.fetchInbox(), /is no object/],
  ["no list", { tickets: {} }, (client) => client.fetchInbox(), /inbox\.tickets is not a list/],
  ["no transport", { tickets: [TICKET] }, (client) => client.fetchInbox(), /tickets\[0\]\.transport is no object/],
  ["no id", { ok: true }, (client) => client.registerInstance("a:b", { strategies: [] }), /instanceId is not a text/],
  ["no ok", { ok: false }, (client) => client.sendInstanceHeartbeat("1"), /heartbeat\.ok is not true/],
  ["no ok", {}, (client) => client.deregisterInstance("1"), /instances\/1\.ok is not true/],
  ["no ticket", { ok: true }, (client) => client.requestTicket("a:b", "1", "c"), /ticket is no object/],
  ["no ok", { ticket: TICKET }, (client) => client.requestTicket("a:b", "1", "c"), /tickets\.ok is not true/],
  [
    "no time",
    { ok: true, ticket: { ...TICKET, expiresAt: "soon" } },
    (client) => client.requestTicket("a:b", "1", "c"),
    /ticket\.expiresAt is not a time/,
  ],
  ["not valid", { valid: false }, (client) => client.validateTicket("a1"), /validate\.valid is not true/],
  [
    "no strategies",
    { valid: true, ...ENDS, transport: { strategies: [1] } },
    (client) => client.validateTicket("a1"),
    /transport\.strategies is not a list of texts/,
  ],
  ["no session", { ok: true }, (client) => client.reportSessionCreation("a1"), /sessions\.session is no object/],
  ["no ok", { session: SESSION }, (client) => client.reportSessionCreation("a1"), /sessions\.ok is not true/],
  [
    "no status",
    { ok: true, session: { ...SESSION, status: "asleep" } },
    (client) => client.reportSessionCreation("a1"),
    /session\.status is not one of active, grace, dead/,
  ],
  [
    "no grace",
    { session: { ...SESSION, reconnectGraceSeconds: "60" } },
    (client) => client.updateSessionStatus("5e", "active"),
    /session\.reconnectGraceSeconds is not a number/,
  ],
  [
    "no yes or no",
    { authorized: "yes" },
    (client) => client.sendSessionHeartbeat("5e"),
    /authorized is not true or false/,
  ],
];

for (const [what, body, call, message] of WRONG) {
  test(`an answer with ${what} is an error that says so: ${message.source}`, async () => {
    const error = await call(answered(body)).then(
      () => assert.fail("it was taken"),
      (error) => error,
    );
    assert(error instanceof TicketResponseError, String(error));
    assert.match(error.message, message);
  });
}

test("an answer is taken with all its fields, and without those that are not known", async () => {
  const inbox = { tickets: [{ ...TICKET, colour: "red", transport: { ...TRANSPORT, speed: 9 } }], more: 1 };
  assert.deepEqual(await answered(inbox).fetchInbox(), [{ ...TICKET, transport: TRANSPORT }]);
  const ticket = { ok: true, ticket: { ...TICKET, colour: "red" }, more: 1 };
  assert.deepEqual(await answered(ticket, 201).requestTicket("a:b", "1", "c"), { ok: true, ticket: TICKET });
  const session = { ok: true, session: { ...SESSION, colour: "red" }, more: 1 };
  assert.deepEqual(await answered(session, 201).reportSessionCreation("a1"), { ok: true, session: SESSION });
});

test("a strategy that is not known is left out", async () => {
  const transport = { strategies: ["pigeon", "relay"], preferred: "pigeon" };
  const [ticket] = await answered({ tickets: [{ ...TICKET, transport }] }).fetchInbox();
  assert.deepEqual(ticket?.transport, { strategies: ["relay"] });
});

test("a refusal has the gateway's status, code and sentence", async () => {
  // TIX-60
  const body = { type: "urn:adit:problem:ticket.invalid", code: "ticket.invalid", error: "Invalid ticket" };
  const refusal = { name: "TicketHttpError", statusCode: 401, code: "ticket.invalid", message: "Invalid ticket" };
  await assert.rejects(answered(body, 401).validateTicket("a1"), refusal);
});

test("a refusal of something that is no gateway has its status", async () => {
  for (const body of ["<html>Bad Gateway</html>", "", "null", '{"error": 7}']) {
    const error = await answered(body, 502)
      .fetchInbox()
      .catch((error) => error);
    assert(error instanceof TicketHttpError);
    assert.deepEqual([error.statusCode, error.code], [502, undefined]);
    assert.equal(error.message, "The gateway answered with status 502.");
  }
});

test("a refusal is not asked for again", async () => {
  const client = answered({ error: "Invalid ticket" }, 401);
  await assert.rejects(client.validateTicket("a1"), TicketHttpError);
});

test("only an https address is taken", () => {
  const options = { dispatcher: new MockAgent(), logger: new Journal() };
  assert.throws(
    () => new TicketClient({ ...options, panelUrl: "http://gateway.example" }),
    /panelUrl begins with https:/,
  );
  assert.throws(() => new TicketClient({ ...options, panelUrl: "gateway" }), { code: "ERR_INVALID_URL" });
});

test("an address may end in a slash or have a path", async () => {
  const dispatcher = new MockAgent();
  dispatcher.disableNetConnect();
  const reply = { tickets: [] };
  dispatcher.get(URL).intercept({ path: "/adit/api/tickets/inbox" }).reply(200, reply);
  const client = new TicketClient({ panelUrl: `${URL}/adit//`, dispatcher, logger: new Journal() });
  assert.deepEqual(await client.fetchInbox(), []);
});

test("a call is ended by its signal, with the signal's reason", async () => {
  const reason = new Error("enough");
  const call = answered({ tickets: [] }).fetchInbox({ signal: AbortSignal.abort(reason) });
  await assert.rejects(call, reason);
});

test("a gateway that does not answer is given up after ten seconds", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const dispatcher = /** @type {any} */ ({ dispatch: () => true });
  const call = new TicketClient({ panelUrl: URL, dispatcher, logger: new Journal() }).fetchInbox();
  const ended = call.catch((error) => error.message);
  const open = new Promise((open) => setImmediate(open, "open"));
  t.mock.timers.tick(9_999);
  assert.equal(await Promise.race([ended, open]), "open");
  t.mock.timers.tick(1);
  assert.equal(await ended, "the gateway did not answer within 10 s");
});
