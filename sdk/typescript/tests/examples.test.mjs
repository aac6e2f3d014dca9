// Both examples as programs of their own, against a real gateway.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Gateway } from "./gateway.mjs";
import { until } from "./journal.mjs";

const EXAMPLES = fileURLToPath(new URL("../examples", import.meta.url));

/** @type {Gateway} */
let gateway;
before(async () => {
  gateway = await Gateway.start();
});
after(() => gateway.stop());

/** An example that runs, and the lines that it wrote. */
class Program {
  /** @type {Record<string, any>[]} */
  lines = [];

  /**
   * @param {import("node:test").TestContext} t
   * @param {string} name
   * @param {Record<string, string>} settings
   */
  constructor(t, name, settings) {
    const env = { PATH: process.env.PATH, ...settings };
    this.child = spawn(process.execPath, [join(EXAMPLES, name)], { env, stdio: ["ignore", "pipe", "inherit"] });
    this.exited = once(this.child, "exit");
    createInterface(this.child.stdout).on("line", (line) => this.lines.push(JSON.parse(line)));
    t.after(() => this.child.kill("SIGKILL"));
  }

  /**
   * Waits for a line with a message and fields.
   * @param {string} message
   * @param {Record<string, unknown>} [fields]
   */
  said(message, fields = {}) {
    const fits = (/** @type {Record<string, unknown>} */ line) =>
      line.message === message && Object.entries(fields).every(([name, value]) => line[name] === value);
    return until(`“${message}” ${JSON.stringify(fields)}`, () => this.lines.find(fits));
  }

  /** Asks it to end, and gives its exit code. */
  async end() {
    this.child.kill("SIGTERM");
    const [code] = await this.exited;
    return code;
  }
}

/**
 * The settings of a machine's certificate in one of both forms.
 * @param {import("./gateway.mjs").Machine} machine
 * @param {string} form
 * @returns {Record<string, string>}
 */
function identity(machine, form) {
  if (form === "PEM") return { ADIT_PANEL_URL: machine.url, ADIT_CERTS: dirname(machine.pem.certPath) };
  const password = join(gateway.data, "password");
  return { ADIT_PANEL_URL: machine.url, ADIT_P12: machine.p12.p12Path, ADIT_P12_PASSWORD_FILE: password };
}

for (const [ofSource, ofTarget] of /** @type {const} */ ([
  ["PEM", "P12"],
  ["P12", "PEM"],
])) {
  test(`the examples let a target in and out again: a source by ${ofSource}, a target by ${ofTarget}`, async (t) => {
    // TIX-60
    const one = await gateway.machine(`example-${ofSource}-source`.toLowerCase());
    const other = await gateway.machine(`example-${ofSource}-target`.toLowerCase());
    const quick = { ADIT_ASK_MS: "100", ADIT_HEARTBEAT_MS: "100" };
    const source = new Program(t, "source.mjs", { ...identity(one, ofSource), ...quick, ADIT_TARGETS: other.label });
    const target = new Program(t, "target.mjs", { ...identity(other, ofTarget), ...quick });
    await source.said("no ticket: is the target assigned?");
    const { "instance.id": instanceId } = await source.said("the instance is registered");
    await gateway.assign(other, instanceId);
    await source.said("a ticket is in the target's inbox", { target: other.label });
    await target.said("work may begin", { source: one.label, instanceId });
    const { "session.id": session } = await target.said("the session is open");
    await gateway.operate("DELETE", `/api/tickets/sessions/${session}`);
    await target.said("the session's state changed", { state: "terminated", reason: "admin_killed" });
    await target.said("no work now", { state: "terminated" });
    assert.deepEqual([await target.end(), await source.end()], [0, 0]);
    assert.deepEqual(await gateway.instances(one), []);
  });
}

test("an example without an address says what is missing", async (t) => {
  const program = new Program(t, "source.mjs", { ADIT_CERTS: "/nowhere" });
  assert.deepEqual(await program.exited, [2, null]);
});
