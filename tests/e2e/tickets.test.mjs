// Tickets between machines, in the console: what an operator sets, what machines do meanwhile, and that it is seen at once.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { promisify } from "node:util";
import { Adit } from "./adit.mjs";
import { Browser, seriousFaults } from "./console.mjs";

// The gateway lets a machine ask for ten tickets a minute, and these tests are quicker than that.
const SETTINGS = "[tickets]\nper_minute = 100\n";
const TABS = ["scopes", "instances", "assignments", "tickets", "sessions"];

let adit;
let browser;
let window;
let alpha;
let beta;

before(async () => {
  adit = await Adit.start(SETTINGS);
  browser = await Browser.start();
  window = await browser.window(adit);
  await window.signIn();
  alpha = await Machine.make("alpha");
  beta = await Machine.make("beta");
});

after(async () => {
  await browser?.close();
  await alpha?.end();
  await beta?.end();
  await adit?.stop();
});

afterEach(async () => {
  await window.page.unrouteAll({ behavior: "wait" });
  const { scopes } = await adit.api("GET", "/api/tickets/scopes");
  for (const { name } of scopes) await adit.api("DELETE", `/api/tickets/scopes/${name}`);
});

/** A machine with a certificate, as a program of somebody's is one. */
class Machine {
  constructor(label, dir, agent) {
    this.label = label;
    this.dir = dir;
    this.agent = agent;
  }

  static async make(label) {
    const dir = await mkdtemp(join(tmpdir(), "adit-machine-"));
    const env = { ...process.env, ADIT_URL: adit.url, ADIT_TOKEN: adit.token };
    await promisify(execFile)(process.env.ADIT_BIN, ["cert", "issue", `agent:${label}`, "--out", dir], { env });
    const [cert, key, ca] = await Promise.all(["cert", "key", "ca"].map((name) => readFile(join(dir, `${name}.pem`))));
    return new Machine(label, dir, new Agent({ cert, key, ca, keepAlive: true }));
  }

  async end() {
    this.agent.destroy();
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Sends a request to the machine listener; gives the status and the body. */
  ask(method, path, body = {}) {
    return new Promise((done, fail) => {
      const headers = { "content-type": "application/json" };
      const asking = request(`${adit.machines}/api/tickets${path}`, { method, headers, agent: this.agent });
      asking.on("error", fail);
      asking.on("response", async (response) => {
        const chunks = await response.toArray().catch(fail);
        done([response.statusCode, JSON.parse(Buffer.concat(chunks).toString() || "null")]);
      });
      asking.end(JSON.stringify(body));
    });
  }

  /** Does what has to work. */
  async does(method, path, body) {
    const [status, answer] = await this.ask(method, path, body);
    assert.ok(status < 300, `${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    return answer;
  }

  offer(scope = "shell:connect") {
    return this.does("POST", "/instances", { scope, transport: { strategies: ["relay"] } });
  }

  async ticketFor({ instanceId, instanceScope }, target) {
    const scope = instanceScope.slice(0, instanceScope.lastIndexOf(":"));
    const { ticket } = await this.does("POST", "", { scope, instanceId, target: target.label });
    return ticket.id;
  }

  validate(ticketId) {
    return this.does("POST", "/validate", { ticketId });
  }

  async opens(ticketId) {
    await this.validate(ticketId);
    return (await this.does("POST", "/sessions", { ticketId })).session;
  }
}

/** Registers `shell` with two capabilities, and gives the first to both machines. */
async function shell() {
  const scopes = [{ name: "connect", description: "Opens a shell" }, { name: "watch" }];
  const transport = { strategies: ["relay", "tunnel"], preferred: "relay", port: 0, protocol: "tcp" };
  await adit.api("POST", "/api/tickets/scopes", { name: "shell", version: "1.0.0", scopes, transport });
  for (const { label } of [alpha, beta]) {
    await adit.api("PUT", `/api/tickets/capabilities/${label}`, { capabilities: ["shell:connect"] });
  }
}

/** Lets `beta` in to what `alpha` offers; gives the instance. */
async function reachable() {
  await shell();
  const instance = await alpha.offer();
  const { instanceScope } = instance;
  await adit.api("POST", "/api/tickets/assignments", { agentLabel: "beta", instanceScope });
  return instance;
}

/** Opens a tab and gives it a mark, which a reload would take away. */
async function watch(tab) {
  await window.open(`/tickets/${tab}`);
  await window.page.getByRole("button", { name: /^Sessions \d/ }).waitFor();
  await window.page.evaluate(() => {
    globalThis.watched = true;
  });
}

/** Says that nothing loaded the page anew since it was watched. */
async function sameWindow() {
  assert.ok(await window.page.evaluate(() => globalThis.watched === true), "the page was loaded anew");
}

const counted = (name) => window.page.getByRole("button", { name, exact: true }).waitFor();
const row = (text) => window.page.getByRole("row").filter({ hasText: text });
const press = (name) => window.page.getByRole("button", { name, exact: true }).click();
const confirm = (name) => window.page.getByRole("dialog").getByRole("button", { name, exact: true }).click();
const dialog = (name) => window.page.getByRole("dialog", { name });

async function picture(name) {
  if (!process.env.PICTURES) return;
  for (const [width, height] of [
    [1440, 900],
    [390, 844],
  ]) {
    await window.page.setViewportSize({ width, height });
    await window.page.screenshot({ path: `${process.env.PICTURES}/${name}-${width}.png` });
  }
  await window.page.setViewportSize({ width: 1200, height: 800 });
}

// TIX-70
test("a tab that lists nothing says what to do next, with the command", async () => {
  const { page } = window;
  const begin = "adit ticket scope add shell --action connect";
  for (const [tab, title, next] of [
    ["scopes", "No scope is registered yet", begin],
    ["instances", "No machine offers anything yet", begin],
    ["assignments", "Nothing is offered that a machine could be let in to", begin],
    ["tickets", "No ticket within the last hour", "Go to the assignments"],
    ["sessions", "No session between machines within the last day", "Go to the assignments"],
  ]) {
    await window.open(`/tickets/${tab}`);
    await page.getByRole("heading", { name: title }).waitFor();
    await page.getByText(next, { exact: true }).waitFor();
  }
  await picture("tickets-empty");
});

// TIX-70
test("what is missing for a first session is told step by step, as it is done", async () => {
  const { page } = window;
  await watch("instances");
  await shell();
  await page.getByText("adit ticket offer shell:connect --to 127.0.0.1:22").waitFor();
  const instance = await alpha.offer();
  await row("alpha").getByText("Active").waitFor();
  await press("Assignments 0");
  await page.getByText("adit ticket assign beta --to alpha --for shell:connect").waitFor();
  const { instanceScope } = instance;
  await adit.api("POST", "/api/tickets/assignments", { agentLabel: "beta", instanceScope });
  await press("Sessions 0");
  await page.getByText("adit ticket use shell:connect --listen 127.0.0.1:2222").waitFor();
  await sameWindow();
});

// TIX-70
test("a scope is registered with its capabilities, and is in the list at once", async () => {
  const { page } = window;
  await watch("scopes");
  await press("Register a scope");
  const form = dialog("Register a scope");
  await form.getByLabel("Name", { exact: true }).fill("files");
  await form.getByLabel("Version").fill("2.1.0");
  await form.getByLabel("Description").fill("Reads what others wrote");
  await form.getByLabel("Name of capability 1").fill("read");
  await form.getByRole("button", { name: "Another capability" }).click();
  await form.getByLabel("Name of capability 2").fill("write");
  await form.getByLabel("What capability 2 is for").fill("Writes a file");
  await form.getByRole("checkbox", { name: /^direct/ }).check();
  await form.getByLabel("Try first").selectOption("direct");
  await form.getByLabel("Protocol").selectOption("wss");
  await form.getByLabel("Port").fill("4433");
  await picture("tickets-register");
  await form.getByRole("button", { name: "Register files" }).click();
  await row("files:read").getByText("direct, relay, tunnel").waitFor();
  await counted("Scopes 1");
  await sameWindow();
  await row("files:read").click();
  const sheet = dialog("files");
  for (const text of ["Reads what others wrote", "2.1.0", "wss on port 4433", "files:write", "Writes a file"]) {
    await sheet.getByText(text).waitFor();
  }
  assert.equal(new URL(page.url()).pathname, "/ui/tickets/scopes/files");
});

// TIX-70
test("a scope that the gateway refuses stays in the form, with the gateway's sentence", async () => {
  await window.open("/tickets/scopes?add=scope");
  const form = dialog("Register a scope");
  await form.getByLabel("Name", { exact: true }).fill("admin");
  await form.getByLabel("Name of capability 1").fill("connect");
  await form.getByRole("button", { name: "Register admin" }).click();
  await form.getByRole("alert").getByText("That name is reserved; choose another.").waitFor();
  assert.equal(await form.getByLabel("Name of capability 1").inputValue(), "connect");
});

// TIX-70
test("a machine is given a capability, and what it holds is changed as a whole", async () => {
  await shell();
  await adit.api("PUT", "/api/tickets/capabilities/alpha", { capabilities: [] });
  await watch("scopes");
  await press("Give capabilities");
  const form = dialog("Give capabilities");
  await form.getByLabel("Machine").fill("nobody");
  await form.getByLabel("shell:connect").check();
  await form.getByRole("button", { name: "Give nobody 1 capability" }).click();
  await form.getByText("nobody has no certificate that counts, so it can hold nothing.").waitFor();
  await form.getByLabel("Machine").fill("beta");
  assert.ok(await form.getByLabel("shell:connect").isChecked(), "beta begins with what it holds");
  await form.getByLabel("Machine").fill("alpha");
  await form.getByLabel("shell:connect").check();
  await form.getByLabel("shell:watch").check();
  await form.getByRole("button", { name: "Give alpha 2 capabilities" }).click();
  await form.waitFor({ state: "detached" });
  await row("alpha").getByText("shell:watch", { exact: true }).waitFor();
  await sameWindow();
});

// TIX-70
test("before a capability is taken away it is told what ends, and then it ends", async () => {
  const instance = await reachable();
  const session = await beta.opens(await alpha.ticketFor(instance, beta));
  await watch("scopes");
  await press("Change what beta holds");
  const form = dialog("What beta holds");
  await form.getByLabel("shell:connect").uncheck();
  await form.getByText("beta loses shell:connect: 1 live session ends within a second.").waitFor();
  await form.getByRole("button", { name: "Take all from beta" }).click();
  await press("Sessions 1");
  await row("One of both ends lost the capability").waitFor();
  const [, heartbeat] = await beta.ask("POST", `/sessions/${session.sessionId}/heartbeat`);
  assert.deepEqual(heartbeat, { authorized: false, reason: "capability_removed" });
  await sameWindow();
});

// TIX-70
test("an instance appears when a machine offers it, and is gone when it is deregistered", async () => {
  const { page } = window;
  await watch("instances");
  const { instanceId } = await reachable();
  await row("alpha").getByText("Active").waitFor();
  await counted("Instances 1");
  for (const text of ["shell:connect", "relay", "stale in 5 min without a heartbeat"]) {
    await row("alpha").getByText(text, { exact: true }).waitFor();
  }
  await row("alpha").click();
  await dialog("shell:connect of alpha").getByText("beta").waitFor();
  await picture("tickets-instance");
  await page.keyboard.press("Escape");
  await press("Deregister shell:connect of alpha");
  await dialog("Deregister shell:connect of alpha?").getByText("With it goes: 1 assignment.").waitFor();
  await confirm("Deregister shell:connect of alpha");
  await page.getByRole("heading", { name: "No machine offers anything yet" }).waitFor();
  assert.equal((await alpha.ask("POST", `/instances/${instanceId}/heartbeat`))[0], 404);
  await sameWindow();
});

// TIX-70
test("an instance that is not heard of is stale, then dead, and says what becomes of it", async () => {
  await reachable();
  const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
  for (const [status, minutes, word, next] of [
    ["stale", 10, "Stale", "gets no tickets; removed in 50 min without a heartbeat"],
    ["dead", 61, "Dead", "is being removed"],
  ]) {
    await window.page.route(/\/api\/tickets\/scopes$/, async (route) => {
      const registry = await (await route.fetch()).json();
      for (const one of registry.instances) Object.assign(one, { status, lastHeartbeat: ago(minutes) });
      await route.fulfill({ json: registry });
    });
    await window.open("/tickets/instances");
    await row("alpha").getByText(word, { exact: true }).waitFor();
    await row("alpha").getByText(next).waitFor();
    await window.page.unrouteAll({ behavior: "wait" });
  }
});

// TIX-70
test("a machine is assigned to an instance, and the assignment is taken back", async () => {
  await shell();
  const { instanceScope } = await alpha.offer();
  await watch("assignments");
  await press("Assign a machine");
  const form = dialog("Assign a machine");
  await form.getByLabel("To", { exact: true }).selectOption("alpha: shell:connect");
  await form.getByLabel("Who is let in").selectOption("beta");
  await form.getByRole("button", { name: "Let beta in to alpha" }).click();
  await row("beta").getByRole("link", { name: "alpha" }).waitFor();
  await counted("Assignments 1");
  await row("beta").getByText("shell:connect", { exact: true }).waitFor();
  const { assignments } = await adit.api("GET", "/api/tickets/assignments?agentLabel=beta");
  assert.equal(assignments[0].instanceScope, instanceScope);
  await press("Remove the assignment of beta to alpha");
  await dialog("Remove the assignment of beta to alpha?").getByText("No live session ends now.").waitFor();
  await confirm("Remove the assignment of beta to alpha");
  await window.page.getByRole("heading", { name: "No machine is let in to another yet" }).waitFor();
  await sameWindow();
});

test("whoever is to be assigned but holds nothing is given it first", async () => {
  await shell();
  await adit.api("PUT", "/api/tickets/capabilities/beta", { capabilities: [] });
  await alpha.offer();
  await window.open("/tickets/assignments?add=assignment");
  const form = dialog("Assign a machine");
  await form.getByText("No other machine holds shell:connect yet.").waitFor();
  assert.ok(await form.getByRole("button", { name: "Let a machine in" }).isDisabled());
  await form.getByRole("link", { name: "Give it to a machine" }).click();
  await dialog("Give capabilities").getByLabel("Machine").waitFor();
});

// TIX-70
test("a ticket counts its seconds down, is seen used, and one that is revoked opens nothing", async () => {
  const instance = await reachable();
  await watch("tickets");
  const first = await alpha.ticketFor(instance, beta);
  const cell = window.page.getByRole("cell", { name: "Issued", exact: true });
  const issued = window.page.getByRole("row").filter({ has: cell });
  const seconds = issued.getByRole("cell", { name: /^\d+ s$/ });
  await seconds.waitFor();
  const before = Number.parseInt(await seconds.textContent(), 10);
  assert.ok(before > 0 && before <= 30, `${before} s left`);
  await issued.getByRole("cell", { name: `${before - 2} s`, exact: true }).waitFor();
  await picture("tickets-issued");
  await beta.validate(first);
  await issued.waitFor({ state: "detached" });
  const second = await alpha.ticketFor(instance, beta);
  await issued.getByRole("button", { name: "Revoke the ticket of alpha for beta" }).click();
  await confirm("Revoke the ticket of alpha for beta");
  await row("Revoked").waitFor();
  assert.deepEqual((await beta.ask("POST", "/validate", { ticketId: second }))[0], 401);
  assert.ok(!(await window.page.content()).includes(second), "a ticket's id is its secret");
  await sameWindow();
});

// TIX-70
test("a ticket that runs out is seen expired, though nothing announces it", async () => {
  const instance = await reachable();
  await alpha.ticketFor(instance, beta);
  const ends = Date.now() + 3000;
  await window.page.route(/\/api\/tickets$/, async (route) => {
    const { tickets } = await (await route.fetch()).json();
    const status = Date.now() < ends ? "issued" : "expired";
    const expiresAt = new Date(ends).toISOString();
    await route.fulfill({ json: { tickets: [{ ...tickets[0], status, expiresAt }] } });
  });
  await watch("tickets");
  await window.page.getByRole("cell", { name: "Issued", exact: true }).waitFor();
  await window.page.getByRole("cell", { name: "Expired", exact: true }).waitFor({ timeout: 10_000 });
  await sameWindow();
});

// TIX-70
test("a session is seen as it opens, is killed, and says why it is over", async () => {
  const instance = await reachable();
  await watch("sessions");
  const session = await beta.opens(await alpha.ticketFor(instance, beta));
  const active = row("Active");
  await active.getByText("shell:connect", { exact: true }).waitFor();
  await window.page.getByText("1 session live").waitFor();
  await beta.does("PATCH", `/sessions/${session.sessionId}`, { status: "grace" });
  await row("In grace").waitFor();
  await beta.does("PATCH", `/sessions/${session.sessionId}`, { status: "active" });
  await active.waitFor();
  await press("Kill the session of beta on alpha");
  await confirm("Kill the session of beta on alpha");
  await row("An operator ended it").waitFor();
  await active.waitFor({ state: "detached" });
  const [, heartbeat] = await beta.ask("POST", `/sessions/${session.sessionId}/heartbeat`);
  assert.deepEqual(heartbeat, { authorized: false, reason: "admin_killed" });
  await sameWindow();
});

// TIX-70
test("a session's address shows it, and leads to its instance and its ticket", async () => {
  const instance = await reachable();
  const { sessionId } = await beta.opens(await alpha.ticketFor(instance, beta));
  await window.open(`/tickets/sessions/${sessionId}`);
  const sheet = dialog("beta on alpha");
  await sheet.getByText("Over in 10 min unless one of both ends is heard of.").waitFor();
  await picture("tickets-session");
  await sheet.getByRole("link", { name: /^…/ }).click();
  const ticket = dialog("Ticket of alpha for beta");
  await ticket.getByText("beta, once").waitFor();
  await ticket.getByRole("link", { name: "shell:connect of alpha" }).click();
  await dialog("shell:connect of alpha").getByText("1 live session").waitFor();
  await window.open(`/tickets/sessions/${"0".repeat(32)}`);
  await dialog("Not here any more").getByText("There is no such session.").waitFor();
});

// TIX-70
test("the removal of a scope says what ends with it, and ends it", async () => {
  const instance = await reachable();
  const { sessionId } = await beta.opens(await alpha.ticketFor(instance, beta));
  await watch("scopes");
  await press("Remove shell");
  const asked = dialog("Remove the scope shell?");
  await asked.getByText("Its capabilities are taken from 2 machines.").waitFor();
  await asked.getByText("1 instance, 1 assignment and 1 live session end within a second.").waitFor();
  await asked.getByRole("button", { name: "Remove shell" }).click();
  await window.page.getByRole("heading", { name: "No scope is registered yet" }).waitFor();
  for (const name of ["Scopes 0", "Instances 0", "Assignments 0"]) await counted(name);
  const [, heartbeat] = await beta.ask("POST", `/sessions/${sessionId}/heartbeat`);
  assert.notEqual(heartbeat.authorized, true);
  await sameWindow();
});

// TIX-70
test("who may only see tickets finds all five tabs and no action", async () => {
  const instance = await reachable();
  await beta.opens(await alpha.ticketFor(instance, beta));
  await alpha.ticketFor(instance, beta);
  const other = await browser.window(adit);
  await other.signIn((await adit.person("vera", "viewer", null)).link);
  await other.page.getByRole("navigation", { name: "Parts" }).getByRole("link", { name: "Tickets" }).click();
  for (const tab of TABS) {
    await other.open(`/tickets/${tab}?add=scope`);
    await other.page.getByRole("row").filter({ hasText: "alpha" }).first().waitFor();
    const actions = /Register|Give|Change|Remove|Deregister|Assign |Revoke|Kill/;
    assert.equal(await other.page.getByRole("button", { name: actions }).count(), 0, tab);
    assert.equal(await other.page.getByRole("dialog").count(), 0, tab);
  }
  await other.open(`/tickets/instances/${instance.instanceId}`);
  await other.page.getByRole("dialog").getByText("Who is let in").waitFor();
  assert.equal(await other.page.getByRole("dialog").getByRole("button", { name: "Deregister" }).count(), 0);
  await other.page.context().close();
});

test("who may not see tickets finds no such page", async () => {
  const other = await browser.window(adit);
  await other.signIn((await adit.person("tom", "viewer")).link);
  const rail = other.page.getByRole("navigation", { name: "Parts" });
  await rail.getByRole("link", { name: "Machines" }).waitFor();
  assert.equal(await rail.getByRole("link", { name: "Tickets" }).count(), 0);
  await other.open("/tickets");
  await other.page.getByText("Not for your role").waitFor();
  await other.page.context().close();
});

test("the keyboard alone finds the page, opens an instance and comes back", async () => {
  const { page } = window;
  await reachable();
  await window.open("/machines");
  await page.getByRole("table").waitFor();
  await page.keyboard.press("Control+K");
  await page.keyboard.type("tickets");
  await page.getByRole("option", { selected: true }).getByText("Tickets").waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL("**/ui/tickets");
  await page.getByRole("button", { name: "Instances 1" }).focus();
  await page.keyboard.press("Enter");
  await row("alpha").focus();
  await page.keyboard.press("Enter");
  await dialog("shell:connect of alpha").waitFor();
  await page.keyboard.press("Escape");
  await page.waitForURL("**/ui/tickets/instances");
});

test("a tab that the gateway does not answer says so, and comes when it does", async () => {
  const { page } = window;
  await reachable();
  for (const [tab, path] of [
    ["scopes", "scopes"],
    ["tickets", ""],
    ["sessions", "sessions"],
  ]) {
    await page.route(new RegExp(`/api/tickets${path ? `/${path}` : ""}$`), (route) => route.abort());
    await window.open(`/tickets/${tab}`);
    await page.getByRole("heading", { name: "No answer from the gateway" }).waitFor();
    await page.unrouteAll({ behavior: "wait" });
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("heading", { name: "No answer from the gateway" }).waitFor({ state: "detached" });
  }
});

// TIX-70
test("the tabs have no serious fault, light and dark, wide and narrow", async () => {
  const { page } = window;
  const instance = await reachable();
  const { sessionId } = await beta.opens(await alpha.ticketFor(instance, beta));
  const killed = await beta.opens(await alpha.ticketFor(instance, beta));
  await adit.api("DELETE", `/api/tickets/sessions/${killed.sessionId}`);
  const { tickets } = await adit.api("GET", "/api/tickets");
  const paths = [
    ...TABS.map((tab) => `/tickets/${tab}`),
    "/tickets/scopes/shell",
    `/tickets/instances/${instance.instanceId}`,
    `/tickets/tickets/${tickets[0].id}`,
    `/tickets/sessions/${sessionId}`,
    `/tickets/sessions/${killed.sessionId}`,
    "/tickets/scopes?add=scope",
    "/tickets/scopes?add=holder",
    "/tickets/scopes?add=holder&label=beta",
    "/tickets/assignments?add=assignment",
  ];
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [390, 1440]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height: 844 });
      for (const path of paths) {
        await window.open(path);
        await page.getByRole("heading").first().waitFor();
        await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
        assert.deepEqual(await seriousFaults(page), [], `${path} ${colorScheme} ${width}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${path} is ${overflow} px too wide`);
      }
    }
  }
  assert.deepEqual(browser.errors, []);
  assert.deepEqual(browser.foreign, []);
});
