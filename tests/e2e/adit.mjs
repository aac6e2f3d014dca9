// Starts the real binary for a test, and ends it again: ADIT_BIN names it.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const START_WAIT_MS = 60_000; // a limit and no measure: certificates and a database are made first

/** A running `adit up` on a folder of its own. */
export class Adit {
  /** @param {{ child: import("node:child_process").ChildProcess, data: string, ready: Record<string, string> }} parts */
  constructor({ child, data, ready }) {
    this.child = child;
    this.data = data;
    this.link = ready.console;
    this.url = new URL(ready.url).origin;
    this.token = ready.token;
    this.machine = ready.machine;
    this.machines = ready.machines;
  }

  /** Starts with lines of `adit.toml`. */
  static async start(settings = "") {
    const binary = process.env.ADIT_BIN;
    if (!binary) throw new Error("ADIT_BIN names the binary under test");
    const data = await mkdtemp(join(tmpdir(), "adit-e2e-"));
    await writeFile(join(data, "adit.toml"), settings);
    const env = { ...process.env, SHELL: "/bin/bash", HOME: data, PS1: "$ " };
    const args = ["up", "--json", "--data", data, "--listen", "127.0.0.1:0"];
    const child = spawn(binary, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const said = [];
    child.stderr.on("data", (chunk) => said.push(chunk));
    const failed = new Promise((_, fail) => {
      const why = (text) => fail(new Error(`${text}: ${Buffer.concat(said).toString().slice(-2000)}`));
      setTimeout(() => why("adit up did not get ready"), START_WAIT_MS).unref();
      child.once("exit", (status) => why(`adit up ended with ${status}`));
    });
    failed.catch(() => {});
    const first = new Promise((line) => createInterface(child.stdout).once("line", line));
    const ready = JSON.parse(await Promise.race([first, failed]));
    return new Adit({ child, data, ready });
  }

  async stop() {
    if (this.child.exitCode === null) {
      const exited = new Promise((done) => this.child.once("exit", done));
      this.child.kill("SIGTERM");
      await exited;
    }
    await rm(this.data, { recursive: true, force: true });
  }

  /** Calls the API as the administrator. */
  async api(method, path, body) {
    const headers = { authorization: `Bearer ${this.token}`, ...(body ? { "content-type": "application/json" } : {}) };
    const response = await fetch(this.url + path, { method, headers, body: body ? JSON.stringify(body) : undefined });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.status === 204 ? null : response.json();
  }

  /** Ends every live session: a person may have only a few at a time. */
  async endSessions() {
    const { items } = await this.api("GET", "/api/v1/sessions?state=live&limit=200");
    for (const { id } of items) await this.api("DELETE", `/api/v1/sessions/${id}`);
  }

  /** Makes a person with one role, and the link that signs them in. */
  async person(name, role, machines = [this.machine]) {
    const user = await this.api("POST", "/api/v1/users", { name });
    await this.api("POST", "/api/v1/grants", { principal: `user:${name}`, role, machines });
    const { url } = await this.api("POST", `/api/v1/users/${user.id}/sign-in-links`, {});
    return { ...user, link: url };
  }

  /** Kills the gateway the hard way. `adit up` starts it again by itself. */
  async killGateway() {
    process.kill(await this.gatewayPid(), "SIGKILL");
  }

  /** The process below `adit up` that listens on the gateway's port. */
  async gatewayPid() {
    const port = Number(new URL(this.url).port);
    const inode = await listeningInode(port);
    for (const pid of await descendants(this.child.pid)) {
      if (await holdsSocket(pid, inode)) return pid;
    }
    throw new Error(`no process below adit up listens on ${port}`);
  }
}

/** An agent on a folder of its own, as a machine that joins runs it. */
export class Agent {
  constructor(dir, child) {
    this.dir = dir;
    this.child = child;
  }

  /** Runs the command that the console shows, with more arguments behind it, and then the agent. */
  static async join(command, ...more) {
    const dir = await mkdtemp(join(tmpdir(), "adit-agent-"));
    const env = { ...process.env, ADIT_AGENT_DIR: dir };
    const [, ...args] = command.trim().split(/\s+/);
    const joining = spawn(process.env.ADIT_BIN, [...args, ...more], { env, stdio: ["ignore", "ignore", "pipe"] });
    const said = [];
    joining.stderr.on("data", (chunk) => said.push(chunk));
    const status = await new Promise((done) => joining.once("close", done));
    if (status !== 0) {
      await rm(dir, { recursive: true, force: true });
      throw new Error(`adit agent join ended with ${status}: ${Buffer.concat(said)}`);
    }
    return new Agent(dir, spawn(process.env.ADIT_BIN, ["agent", "run"], { env, stdio: "ignore" }));
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = new Promise((done) => this.child.once("exit", done));
      this.child.kill("SIGTERM");
      await exited;
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}

async function listeningInode(port) {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  const rows = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((row) => row.trim().split(/\s+/));
  const row = rows.find(([, local, , state]) => local?.endsWith(`:${wanted}`) && state === "0A");
  return row?.[9];
}

async function holdsSocket(pid, inode) {
  try {
    for (const fd of await readdir(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
      if (target === `socket:[${inode}]`) return true;
    }
  } catch {
    // The process ended while it was looked at.
  }
  return false;
}

/** The processes below `pid`, itself first. */
async function descendants(pid) {
  const found = [pid];
  for (const task of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const children = await readFile(`/proc/${pid}/task/${task}/children`, "utf8").catch(() => "");
    for (const child of children.split(" ").filter(Boolean)) found.push(...(await descendants(Number(child))));
  }
  return found;
}
