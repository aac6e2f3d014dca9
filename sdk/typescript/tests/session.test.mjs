// The target's side against a real gateway.
import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { TicketSessionManager } from "@adit/tickets";
import { Gateway, SCOPE } from "./gateway.mjs";
import { Journal, States, until } from "./journal.mjs";
import { listenInSilence, Wire } from "./wire.mjs";

/** So short that a test need not wait for long. */
const QUICK = { inboxPollIntervalMs: 20, sessionHeartbeatIntervalMs: 20, inboxRetryDelayMs: 20 };

/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start();
});
after(() => gateway.stop());

/**
 * Makes the manager of a target, for the length of a test.
 * @param {import("node:test").TestContext} t
 * @param {import("@adit/tickets").TicketSessionCalls} ticketClient
 * @param {Partial<import("@adit/tickets").TicketSessionManagerOptions>} [options]
 */
function manage(t, ticketClient, options) {
  const logger = new Journal();
  const states = new States();
  const onStateChange = states.note;
  const manager = new TicketSessionManager({ ticketClient, scope: SCOPE, logger, onStateChange, ...QUICK, ...options });
  t.after(() => manager.stop());
  return { manager, logger, states };
}

/**
 * The calls of a client, some of them changed.
 * @param {import("@adit/tickets").TicketClient} client
 * @param {Partial<import("@adit/tickets").TicketSessionCalls>} changed
 * @returns {import("@adit/tickets").TicketSessionCalls}
 */
function calls(client, changed) {
  return {
    fetchInbox: (options) => client.fetchInbox(options),
    validateTicket: (id, options) => client.validateTicket(id, options),
    reportSessionCreation: (id, options) => client.reportSessionCreation(id, options),
    sendSessionHeartbeat: (id, options) => client.sendSessionHeartbeat(id, options),
    updateSessionStatus: (id, status, options) => client.updateSessionStatus(id, status, options),
    ...changed,
  };
}

test("a target waits, is authorized by a ticket, and is told why its session was killed", async (t) => {
  // TIX-60
  const { source, target, instanceId, ask } = await gateway.pair("killed");
  const { manager, states } = manage(t, target.client);
  assert.equal(manager.getState(), "stopped");
  await manager.start();
  await states.are(["waiting"]);
  assert.deepEqual([manager.isAuthorized(), manager.getSessionId(), manager.getSessionInfo()], [false, null, null]);

  const ticket = await ask();
  await states.are(["waiting"], ["authorized"]);
  const session = manager.getSessionInfo();
  const { sessionId, ticketId, scope, status } = session ?? assert.fail("no session");
  assert.deepEqual([ticketId, scope, status], [ticket.id, SCOPE, "active"]);
  assert.deepEqual([session?.source, session?.target, session?.instanceId], [source.label, target.label, instanceId]);
  assert.deepEqual(
    [manager.isAuthorized(), manager.getState(), manager.getSessionId()],
    [true, "authorized", sessionId],
  );

  await gateway.operate("DELETE", `/api/tickets/sessions/${sessionId}`);
  await states.are(["waiting"], ["authorized"], ["terminated", "admin_killed"]);
  assert.deepEqual([manager.isAuthorized(), manager.getSessionId(), manager.getSessionInfo()], [false, null, null]);
});

test("after a session the next ticket opens the next", async (t) => {
  const { target, ask } = await gateway.pair("again");
  const { manager, states } = manage(t, target.client);
  await manager.start();
  await ask();
  const first = await until("a session", () => manager.getSessionId());
  await gateway.operate("DELETE", `/api/tickets/sessions/${first}`);
  await until("the end", () => manager.getSessionId() === null);
  await ask();
  const second = await until("another session", () => manager.getSessionId());
  assert.notEqual(second, first);
  const killed = ["terminated", "admin_killed"];
  await states.are(["waiting"], ["authorized"], killed, ["waiting"], ["authorized"]);
});

test("an assignment that is taken back ends the session with its reason", async (t) => {
  const { target, instanceId, ask } = await gateway.pair("unassigned");
  const { manager, states } = manage(t, target.client);
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"]);
  await gateway.operate("DELETE", `/api/tickets/assignments/${target.label}/${SCOPE}:${instanceId}`);
  await states.are(["waiting"], ["authorized"], ["terminated", "assignment_removed"]);
});

test("a session that the gateway does not know any more is over", async (t) => {
  // TIX-60
  const { target, instanceId, ask } = await gateway.pair("unknown");
  const { manager, states } = manage(t, target.client);
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"]);
  await gateway.operate("DELETE", `/api/tickets/instances/${instanceId}`);
  await states.are(["waiting"], ["authorized"], ["terminated", "not_found"]);
});

test("a target whose certificate was revoked is unauthorized at its next heartbeat", async (t) => {
  // TIX-60
  const { target, ask } = await gateway.pair("revoked");
  let isRevoked = false;
  /** @type {import("@adit/tickets").TicketSessionCalls["sendSessionHeartbeat"]} */
  const sendSessionHeartbeat = async (id, options) => {
    await until("the revocation", () => isRevoked);
    return target.client.sendSessionHeartbeat(id, options);
  };
  const { manager, states } = manage(t, calls(target.client, { sendSessionHeartbeat }));
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"]);
  await gateway.revoke(target);
  isRevoked = true;
  await states.are(["waiting"], ["authorized"], ["terminated", "unauthorized"], ["waiting"]);
  assert.deepEqual([manager.isAuthorized(), manager.getSessionInfo()], [false, null]);
});

test("a certificate that no connection is made with is a failed heartbeat, and no end", async (t) => {
  const { target, ask } = await gateway.pair("cut-off");
  const other = await Gateway.start();
  t.after(() => other.stop());
  const { pem: foreign } = await other.machine("foreign");
  const wire = await Wire.to(t, gateway.machines);
  const options = { maxConsecutiveHeartbeatFailures: 3 };
  const { manager, logger, states } = manage(t, target.clientAt(wire.url), options);
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"]);
  for (const path of /** @type {const} */ (["certPath", "keyPath"])) await copyFile(foreign[path], target.pem[path]);
  // The next connection shows the foreign certificate.
  wire.cut();
  wire.mend();
  await until("failed heartbeats", () => logger.count("the gateway did not take the session's heartbeat") > 5);
  assert.deepEqual(states.told, [["waiting"], ["authorized"], ["grace"]]);
});

test("a ticket that soon ends is not used", async (t) => {
  // TIX-60
  const { target, ask } = await gateway.pair("short");
  const ticket = await ask();
  let looks = 0;
  const fetchInbox = async () => {
    const inbox = await target.client.fetchInbox();
    looks += inbox.length;
    return inbox;
  };
  const { manager, states } = manage(t, calls(target.client, { fetchInbox }), { minTicketTtlMs: 30_001 });
  await manager.start();
  await until("looks at the ticket", () => looks >= 3);
  assert.deepEqual(states.told, [["waiting"]]);
  assert.deepEqual(
    (await target.client.fetchInbox()).map(({ id }) => id),
    [ticket.id],
  );
});

test("of two tickets the one that lasts longer is used", async (t) => {
  // TIX-60
  const { target, ask } = await gateway.pair("fresh");
  const tickets = [await ask(), await ask()];
  const { manager } = manage(t, target.client);
  await manager.start();
  await until("a session", () => manager.getSessionId());
  assert.equal(manager.getSessionInfo()?.ticketId, tickets[1]?.id);
  assert.deepEqual(
    (await target.client.fetchInbox()).map(({ id }) => id),
    [tickets[0]?.id],
  );
});

test("a ticket of another scope is left alone", async (t) => {
  const { target, ask } = await gateway.pair("scopes");
  await ask();
  let looks = 0;
  const fetchInbox = async () => {
    looks += 1;
    return target.client.fetchInbox();
  };
  const { manager, states } = manage(t, calls(target.client, { fetchInbox }), { scope: "files:read" });
  await manager.start();
  await until("looks", () => looks >= 3);
  assert.deepEqual(states.told, [["waiting"]]);
});

test("a ticket that is refused is no end: the next one is waited for", async (t) => {
  const { target, ask } = await gateway.pair("raced");
  let isRaced = true;
  /** @type {import("@adit/tickets").TicketSessionCalls["fetchInbox"]} */
  const fetchInbox = async () => {
    const inbox = await target.client.fetchInbox();
    const [ticket] = inbox;
    if (ticket && isRaced) await target.client.validateTicket(ticket.id);
    if (ticket) isRaced = false;
    return inbox;
  };
  const { manager, logger } = manage(t, calls(target.client, { fetchInbox }));
  await manager.start();
  await ask();
  const failure = await until("the refusal", () => logger.entries.find(({ level }) => level === "warn"));
  assert.equal(failure.fields.err.statusCode, 401);
  await ask();
  await until("a session", () => manager.isAuthorized());
});

test("a gateway that is away puts the session in grace, and is not waited for in vain", async (t) => {
  // TIX-60
  const { target, ask } = await gateway.pair("away");
  const wire = await Wire.to(t, gateway.machines);
  const options = { maxConsecutiveHeartbeatFailures: 3 };
  const { manager, logger, states } = manage(t, target.clientAt(wire.url), options);
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"]);
  const id = manager.getSessionId();
  wire.cut();
  await states.are(["waiting"], ["authorized"], ["grace"]);
  assert(logger.count("the gateway did not take the session's heartbeat") >= 3);
  assert.deepEqual([manager.isAuthorized(), manager.getSessionId()], [false, id]);
  wire.mend();
  await states.are(["waiting"], ["authorized"], ["grace"], ["authorized"]);
  assert.equal(manager.getSessionId(), id);
  assert.equal((await gateway.session(id)).status, "active");
});

test("a gateway that can be told of the grace is, and of its end", async (t) => {
  const { target, ask } = await gateway.pair("told");
  let isIll = false;
  /** @type {import("@adit/tickets").TicketSessionCalls["sendSessionHeartbeat"]} */
  const sendSessionHeartbeat = async (id, options) => {
    if (isIll) throw new Error("ill");
    return target.client.sendSessionHeartbeat(id, options);
  };
  const { manager, states } = manage(t, calls(target.client, { sendSessionHeartbeat }));
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"]);
  const id = manager.getSessionId();
  isIll = true;
  await until("the grace", async () => (await gateway.session(id)).status === "grace");
  isIll = false;
  await states.are(["waiting"], ["authorized"], ["grace"], ["authorized"]);
  assert.equal((await gateway.session(id)).status, "active");
});

test("fewer failed heartbeats than it takes are no grace", async (t) => {
  const { target, ask } = await gateway.pair("few");
  let beats = 0;
  /** @type {import("@adit/tickets").TicketSessionCalls["sendSessionHeartbeat"]} */
  const sendSessionHeartbeat = async (id, options) => {
    beats += 1;
    if (beats % 3 !== 0) throw new Error("ill");
    return target.client.sendSessionHeartbeat(id, options);
  };
  const options = { maxConsecutiveHeartbeatFailures: 3 };
  const { manager, states } = manage(t, calls(target.client, { sendSessionHeartbeat }), options);
  await manager.start();
  await ask();
  await until("heartbeats", () => beats >= 12);
  assert.deepEqual(states.told, [["waiting"], ["authorized"]]);
});

test("a session that was killed while the gateway was away is over when it is back", async (t) => {
  const { target, ask } = await gateway.pair("meanwhile");
  const wire = await Wire.to(t, gateway.machines);
  const options = { maxConsecutiveHeartbeatFailures: 1 };
  const { manager, states } = manage(t, target.clientAt(wire.url), options);
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"]);
  const id = manager.getSessionId();
  wire.cut();
  await states.are(["waiting"], ["authorized"], ["grace"]);
  await gateway.operate("DELETE", `/api/tickets/sessions/${id}`);
  wire.mend();
  await states.are(["waiting"], ["authorized"], ["grace"], ["terminated", "admin_killed"]);
});

test("a stop tells so, once, and looks at nothing any more", async (t) => {
  const { target, ask } = await gateway.pair("stops");
  const { manager, states } = manage(t, target.client);
  await manager.start();
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"]);
  await Promise.all([manager.stop(), manager.stop()]);
  assert.deepEqual(states.told, [["waiting"], ["authorized"], ["stopped"]]);
  assert.deepEqual([manager.getState(), manager.getSessionId()], ["stopped", null]);
  const answers = target.journal.entries.length;
  await ask();
  await target.client.fetchInbox();
  assert.equal(target.journal.entries.length, answers + 1);
});

test("a stop ends a call that waits for an answer", async (t) => {
  const target = await gateway.machine("silent");
  const { url, dialled } = await listenInSilence(t);
  const { manager, logger } = manage(t, target.clientAt(url));
  await manager.start();
  await dialled;
  await manager.stop();
  assert.equal(manager.getState(), "stopped");
  assert.deepEqual(
    logger.entries.filter(({ level }) => level !== "info"),
    [],
  );
});

test("a manager that was stopped in a state's own call starts again", async (t) => {
  const { target, ask } = await gateway.pair("inside");
  const states = new States();
  const { manager } = manage(t, target.client, {
    onStateChange: (state, reason) => {
      states.note(state, reason);
      if (state === "authorized" && states.told.length < 4) void manager.stop();
    },
  });
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"], ["stopped"]);
  await manager.start();
  await ask();
  await states.are(["waiting"], ["authorized"], ["stopped"], ["waiting"], ["authorized"]);
});

test("what onStateChange throws is logged, and ends nothing", async (t) => {
  const { target, ask } = await gateway.pair("throws");
  const onStateChange = () => {
    throw new Error("of the caller");
  };
  const { manager, logger } = manage(t, target.client, { onStateChange });
  await manager.start();
  await ask();
  await until("a session", () => manager.isAuthorized());
  assert.equal(logger.count("onStateChange threw"), 2);
});

test("a ticket's secret is not logged", async (t) => {
  const { target, ask } = await gateway.pair("secret");
  const { manager, logger } = manage(t, target.client);
  await manager.start();
  const { id } = await ask();
  await until("a session", () => manager.isAuthorized());
  const text = JSON.stringify([logger.entries, target.journal.entries]);
  assert(text.includes(manager.getSessionId() ?? "none") && !text.includes(id));
});
