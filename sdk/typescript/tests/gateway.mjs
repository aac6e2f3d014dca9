// Starts a real gateway for a test, and acts on it as its operator: ADIT_BIN names the binary.
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { createTicketDispatcher, TicketClient } from "@adit/tickets";
import { Journal } from "./journal.mjs";

const START_WAIT_MS = 60_000; // a limit and no measure: certificates and a database are made first

/** The scope that tests use, and how its instances are reached. */
export const SCOPE = "shell:connect";
/** @type {import("@adit/tickets").TransportConfig} */
export const RELAY = { strategies: ["relay"], preferred: "relay" };
export const P12_PASSWORD = "correct horse battery";

/** A machine with a certificate, and its client. */
export class Machine {
  /** @type {import("@adit/tickets").PemCertConfig} */
  pem;
  /** @type {import("@adit/tickets").P12CertConfig} */
  p12;

  /**
   * @param {string} label
   * @param {string} folder
   * @param {string} url
   */
  constructor(label, folder, url) {
    this.label = label;
    this.url = url;
    const file = (/** @type {string} */ name) => join(folder, name);
    this.pem = { certPath: file("cert.pem"), keyPath: file("key.pem"), caPath: file("ca.pem") };
    this.p12 = { p12Path: file("bundle.p12"), p12Password: P12_PASSWORD };
    this.journal = new Journal();
    this.dispatcher = createTicketDispatcher({ certs: this.pem });
    this.client = this.clientAt(url);
  }

  /**
   * A client of the machine's at another address than the gateway's own.
   * @param {string} panelUrl
   */
  clientAt(panelUrl) {
    return new TicketClient({ panelUrl, dispatcher: this.dispatcher, logger: this.journal });
  }
}

/** A running `adit up` on a folder of its own, with the scope `shell` registered. */
export class Gateway {
  /** @type {Machine[]} */
  #machines = [];

  /**
   * @param {import("node:child_process").ChildProcess} child
   * @param {string} data
   * @param {Record<string, string>} ready
   */
  constructor(child, data, ready) {
    this.child = child;
    this.data = data;
    this.url = new URL(ready.url ?? "").origin;
    this.token = ready.token ?? "";
    this.machines = ready.machines ?? "";
  }

  static async start() {
    const binary = process.env.ADIT_BIN;
    if (!binary) throw new Error("ADIT_BIN names the binary under test");
    const data = await mkdtemp(join(tmpdir(), "adit-tickets-"));
    const args = ["up", "--json", "--data", data, "--listen", "127.0.0.1:0"];
    const env = { ...process.env, HOME: data };
    const child = spawn(binary, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const gateway = new Gateway(child, data, await ready(child));
    await writeFile(join(data, "password"), `${P12_PASSWORD}\n`);
    await gateway.registerScope();
    return gateway;
  }

  async stop() {
    for (const { dispatcher } of this.#machines) await dispatcher.destroy();
    if (this.child.exitCode === null) {
      const exited = new Promise((done) => this.child.once("exit", done));
      this.child.kill("SIGTERM");
      await exited;
    }
    await rm(this.data, { recursive: true, force: true });
  }

  /**
   * Calls the API as the operator.
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async operate(method, path, body) {
    const headers = { authorization: `Bearer ${this.token}`, ...(body && { "content-type": "application/json" }) };
    const response = await fetch(this.url + path, { method, headers, body: body ? JSON.stringify(body) : null });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.status === 204 ? null : response.json();
  }

  registerScope() {
    return this.operate("POST", "/api/tickets/scopes", {
      name: "shell",
      version: "1.0.0",
      description: "for a test",
      scopes: [{ name: "connect", description: "for a test", instanceScoped: true }],
      transport: { strategies: ["tunnel", "relay", "direct"], preferred: "relay", port: 0, protocol: "tcp" },
    });
  }

  /**
   * Makes a machine that holds the capability.
   * @param {string} label
   * @param {string[]} capabilities
   */
  async machine(label, capabilities = [SCOPE]) {
    const folder = join(this.data, "machines", label);
    const args = ["cert", "issue", `agent:${label}`, "--out", folder];
    const env = { ...process.env, HOME: this.data, ADIT_URL: this.url, ADIT_TOKEN: this.token };
    const withBundle = [...args, "--p12-password-file", join(this.data, "password")];
    await promisify(execFile)(process.env.ADIT_BIN ?? "", withBundle, { env });
    await this.operate("PUT", `/api/tickets/capabilities/${label}`, { capabilities });
    const machine = new Machine(label, folder, this.machines);
    this.#machines.push(machine);
    return machine;
  }

  /**
   * @param {Machine} target
   * @param {string} instanceId
   */
  assign(target, instanceId) {
    const body = { agentLabel: target.label, instanceScope: `${SCOPE}:${instanceId}` };
    return this.operate("POST", "/api/tickets/assignments", body);
  }

  /**
   * Makes a source that offers an instance, and a target that is assigned to it.
   * @param {string} name what both labels begin with
   */
  async pair(name) {
    const source = await this.machine(`${name}-source`);
    const target = await this.machine(`${name}-target`);
    const { instanceId } = await source.client.registerInstance(SCOPE, RELAY);
    await this.assign(target, instanceId);
    const ask = async () => (await source.client.requestTicket(SCOPE, instanceId, target.label)).ticket;
    return { source, target, instanceId, ask };
  }

  /**
   * Revokes the certificate of a machine.
   * @param {Machine} machine
   */
  async revoke({ label }) {
    const { items } = await this.operate("GET", `/api/v1/certificates?name=agent:${label}`);
    await this.operate("DELETE", `/api/v1/certificates/${items[0].id}`);
  }

  /**
   * Finds a session as operators see it.
   * @param {string | null} id
   */
  async session(id) {
    const { sessions } = await this.operate("GET", "/api/tickets/sessions");
    return sessions.find((/** @type {{ sessionId: string }} */ one) => one.sessionId === id);
  }

  /**
   * Lists the instances of a machine as operators see them.
   * @param {Machine} machine
   */
  async instances(machine) {
    const { instances } = await this.operate("GET", "/api/tickets/scopes");
    return instances.filter((/** @type {{ agentLabel: string }} */ one) => one.agentLabel === machine.label);
  }
}

/**
 * Waits for the line that says where a gateway is.
 * @param {import("node:child_process").ChildProcessByStdio<null, import("node:stream").Readable, import("node:stream").Readable>} child
 * @returns {Promise<Record<string, string>>}
 */
async function ready(child) {
  /** @type {Buffer[]} */
  const said = [];
  child.stderr.on("data", (chunk) => said.push(chunk));
  const failed = new Promise((_, fail) => {
    const why = (/** @type {string} */ text) => fail(new Error(`${text}: ${Buffer.concat(said)}`));
    setTimeout(() => why("adit up did not get ready"), START_WAIT_MS).unref();
    child.once("exit", (status) => why(`adit up ended with ${status}`));
  });
  failed.catch(() => {});
  const first = new Promise((line) => createInterface(child.stdout).once("line", line));
  return JSON.parse(await Promise.race([first, failed]));
}
