// A gateway that is not one: enough of the API and of the terminal's protocol to look at the console without building it.
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Plugin, PreviewServer, ViteDevServer } from "vite";
import { type WebSocket, WebSocketServer } from "ws";
import { FromGatewaySchema, FromViewerSchema } from "../src/generated/adit/terminal/v1/terminal_pb.ts";
import { decodeFrame, encodeFrame, MESSAGE, OUTPUT } from "../src/terminal/frame.ts";

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();
const ALL = [
  "terminal:spawn",
  "terminal:input",
  "terminal:resize",
  "terminal:exec",
  "terminal:view",
  "session:list",
  "session:end",
  "recording:view",
  "recording:delete",
  "machine:view",
  "machine:manage",
  "audit:read",
  "access:manage",
];
const people = ["ann", "bob", "chidi", "dana"];
const labels = ["atlas", "build-1", "build-2", "db-1", "db-2", "edge-fra", "edge-nyc", "web-1", "web-2", "web-3"];
const systems = ["Debian 13", "Debian 12", "Ubuntu 24.04", "Fedora 43", "Alpine 3.22"];
const machines = labels.map((label, i) => ({
  id: randomUUID(),
  label,
  status: i === 4 ? "offline" : i === 6 ? "stale" : "online",
  hostname: label === "web-3" ? "<img src=x onerror=alert(1)>" : `${label}.example.net`,
  os: systems[i % 5],
  arch: i % 3 ? "x86_64" : "aarch64",
  version: "0.1.0",
  cores: 4,
  memoryBytes: 8 * 2 ** 30,
  tags: { env: label.startsWith("build") ? "ci" : "prod", role: label.split("-")[0] },
  lastSeenAt: ago(i * 400),
  addedAt: ago(900000),
  liveSessions: i === 0 ? 2 : i === 3 ? 1 : 0,
  capabilities: ALL,
}));
const who = (name = "ann") => ({ kind: "user", id: name, name });
const session = (i: number, state: string) => ({
  id: randomUUID(),
  principal: who(people[i % 4]),
  machine: { id: machines[i % 10]?.id, label: labels[i % 10] },
  kind: i % 5 === 4 ? "exec" : "shell",
  command: i % 5 === 4 ? ["systemctl", "restart", "nginx"] : [],
  state,
  startedAt: ago(i * 3000 + 700),
  endedAt: state === "ended" ? ago(i * 3000) : undefined,
  endsAt: ago(-40000),
  lengthSeconds: 700,
  reason:
    state === "ended"
      ? {
          code: i % 7 === 3 ? "session.ended_by" : "shell.exited",
          sentence: i % 7 === 3 ? "Ended by ann." : "The shell exited.",
        }
      : undefined,
  exitStatus: state === "ended" ? i % 3 : undefined,
  bytesIn: 900 * i,
  bytesOut: 83000 * i + 100,
  viewers:
    state === "live"
      ? [{ name: people[i % 4], canType: true }, ...(i === 1 ? [{ name: "dana", canType: false }] : [])]
      : [],
  recording: state === "ended" ? (i % 9 === 5 ? "incomplete" : "complete") : "recording",
  capabilities: ALL,
});
const liveSessions = [0, 1, 2].map((i) => session(i, i === 2 ? "detached" : "live"));
const past = Array.from({ length: 400 }, (_, i) => session(i + 3, "ended"));
const recordings = past.slice(0, 60).map((s, i) => ({
  id: s.id,
  machine: s.machine,
  principal: s.principal,
  startedAt: s.startedAt,
  lengthSeconds: 40 + i * 31,
  bytes: s.bytesOut,
  state: s.recording,
}));
const EVENTS = [
  ["session.started", "opened a shell on"],
  ["session.ended", "ended the session on"],
  ["recording.viewed", "watched a recording from"],
  ["grant.created", "gave bob the role operator on"],
  ["ticket.refused", "was refused a ticket for"],
] as const;
const events = Array.from({ length: 10000 }, (_, n) => {
  const i = 10000 - n;
  const [event, words] = EVENTS[i % 5] ?? EVENTS[0];
  const name = people[i % 4] ?? "ann";
  return {
    seq: i,
    id: randomUUID(),
    at: ago(n * 97),
    gateway: "gw-1",
    event,
    actor: who(name),
    target: { kind: "machine", id: "m", name: labels[i % 10] },
    outcome: event === "ticket.refused" ? "denied" : "ok",
    sentence: `${name} ${words} ${labels[i % 10]}`,
    details: { sessionId: randomUUID(), address: "203.0.113.7" },
    hash: "9f".repeat(32),
  };
});
const users = people.map((name, i) => ({
  id: `u-${name}`,
  name,
  email: `${name}@example.net`,
  createdAt: ago(9e6),
  lastSeenAt: i ? ago(i * 5000) : ago(4),
}));
const grants = [
  { id: "g1", principal: who("ann"), role: "admin", createdAt: ago(8e6) },
  { id: "g2", principal: who("bob"), role: "operator", machines: ["web-1", "web-2", "web-3"], createdAt: ago(7e5) },
  {
    id: "g3",
    principal: who("chidi"),
    role: "viewer",
    machines: ["db-1"],
    createdAt: ago(6e5),
    expiresAt: ago(-86000),
  },
  { id: "g4", principal: who("dana"), role: "auditor", createdAt: ago(5e5) },
];
const roles = [
  { name: "admin", capabilities: ALL },
  { name: "operator", capabilities: ALL.filter((c) => /terminal|session:end|recording:view|machine:view/.test(c)) },
  { name: "viewer", capabilities: ["terminal:view", "recording:view", "machine:view"] },
  { name: "auditor", capabilities: ["audit:read", "recording:view", "machine:view", "session:list"] },
];
const SCREENS = [
  [
    "$ htop",
    "",
    "  0[||||||||||||      38.2%]  Tasks: 96, 212 thr; 2 running",
    "  1[|||||||           21.0%]  Load average: 0.81 0.66 0.52",
    "  Mem[|||||||||   1.92G/7.8G]  Uptime: 12 days, 04:11:32",
    "",
    "  PID USER      CPU%  MEM%   TIME+  Command",
    " 1412 postgres  12.4   4.1  3:02.11 postgres: writer",
    "  998 root       3.1   0.9  0:41.20 adit agent run",
    " 2210 www        1.2   2.2  0:09.88 nginx: worker",
  ],
  [
    "bob@db-1:~$ psql -c 'select count(*) from orders'",
    "  count",
    "---------",
    " 1048576",
    "(1 row)",
    "",
    "bob@db-1:~$ tail -f /var/log/postgresql.log",
    "LOG:  checkpoint starting: time",
    "LOG:  checkpoint complete: wrote 311 buffers",
  ],
  [
    "chidi@build-2:~/adit$ cargo test",
    "   Compiling adit-wire v0.1.0",
    "   Compiling adit-session v0.1.0",
    "    Finished `test` profile in 41.2s",
    "running 212 tests",
  ],
];
let signedIn = process.env.PRETEND_OUT !== "1";

function cast(): string {
  const lines = [JSON.stringify({ version: 2, width: 100, height: 28, timestamp: 1764000000, title: "bob on web-1" })];
  let t = 0.4;
  const say = (text: string) => lines.push(JSON.stringify([Number(t.toFixed(3)), "o", text]));
  for (const [i, cmd] of [
    "ls --color -la",
    "uptime",
    "git log --oneline | head",
    "make test",
    "htop",
    "systemctl status nginx",
    "df -h",
  ].entries()) {
    say("\u001b[1;32mbob@web-1\u001b[0m:\u001b[1;34m~/app\u001b[0m$ ");
    for (const letter of cmd) {
      t += 0.06;
      say(letter);
    }
    say("\r\n");
    t += 0.3;
    for (let n = 0; n < 14; n++) {
      t += 0.05 + (n % 4) * 0.1;
      say(`\u001b[3${1 + ((n + i) % 6)}m${"▇".repeat(2 + ((n * 7 + i * 3) % 40))}\u001b[0m line ${n} of ${cmd}\r\n`);
    }
    t += i === 3 ? 24 : 1.4;
  }
  return `${lines.join("\n")}\n`;
}

function answer(method: string, url: URL, body: Record<string, unknown>): [number, unknown, string?] {
  const path = url.pathname.replace("/api/v1", "");
  const parts = path.split("/").filter(Boolean);
  const page = <T>(all: T[]) => {
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const limit = Number(url.searchParams.get("limit") ?? 100);
    return { items: all.slice(from, from + limit), next: from + limit < all.length ? String(from + limit) : undefined };
  };
  if (path === "/sign-in") {
    signedIn = body.code === "good";
    return signedIn ? [204, null] : [401, { code: "sign_in.refused", detail: "no" }];
  }
  if (!signedIn) return [401, { code: "signed_out", detail: "Sign in first." }];
  if (path === "/sign-out") {
    signedIn = false;
    return [204, null];
  }
  if (path === "/me")
    return [
      200,
      {
        id: "u-ann",
        name: "ann",
        kind: "user",
        tenant: "default",
        capabilities: ALL,
        anywhere: ALL,
        grants: [{ role: "admin", on: "everything" }],
      },
    ];
  if (path === "/machines") return [200, { items: process.env.PRETEND_EMPTY ? [] : machines }];
  if (path === "/enrolment-tokens")
    return [
      201,
      {
        token: "aet_x",
        expiresAt: ago(-3600),
        command: "adit agent join https://adit.example.net --token aet_kq3vTt2cWk8p0yXn1sH5dQ",
      },
    ];
  if (path === "/tickets") {
    const id = (body.session as string) ?? randomUUID();
    const found = [...liveSessions, ...past].find((s) => s.id === id);
    if (found?.state === "ended") return [410, { code: "session.ended", detail: "This session has ended." }];
    return [
      201,
      {
        ticket: `${id} ${body.mode ?? "control"} ${found?.machine.label ?? shells.get(id)?.label ?? body.machine}`,
        sessionId: id,
        expiresAt: ago(-30),
        url: "/ws/terminal",
        capabilities: ["input"],
      },
    ];
  }
  if (path === "/sessions") {
    const m = url.searchParams.get("machine");
    return [
      200,
      page((url.searchParams.get("state") === "past" ? past : liveSessions).filter((s) => !m || s.machine.label === m)),
    ];
  }
  if (parts[0] === "sessions") {
    const all = [...liveSessions, ...past];
    const s = all.find((each) => each.id === parts[1]);
    if (!s) return [404, { code: "session.unknown", detail: "There is no such session." }];
    if (parts[2] === "screen")
      return [200, { position: 1, cols: 80, rows: 24, lines: SCREENS[liveSessions.indexOf(s)] ?? [] }];
    return [200, s];
  }
  if (path === "/recordings") return [200, page(recordings)];
  if (parts[0] === "recordings") {
    if (parts[2] === "cast") return [200, cast(), "application/x-asciicast"];
    if (parts[2] === "verify")
      return [
        200,
        {
          ok: true,
          checked: { chunks: 214, bytes: 83100, signature: "held", audit: "held" },
          sentence: "Every chunk is what was recorded, the last one is signed, and the audit log holds that signature.",
        },
      ];
    if (parts[2] === "search")
      return [
        200,
        {
          items: [
            { at: 6, row: 3, text: "line 3 of uptime" },
            { at: 15.5, row: 12, text: "line 11 of uptime" },
          ],
        },
      ];
    return [200, recordings.find((r) => r.id === parts[1]) ?? recordings[0]];
  }
  if (path === "/audit/verify")
    return [
      200,
      {
        ok: true,
        events: 10000,
        checkpoints: 31,
        unanchored: 12,
        sentence: "All 10,000 events are in order and unchanged. The newest 12 are not yet under a signed checkpoint.",
      },
    ];
  if (path === "/audit") {
    const q = url.searchParams;
    return [
      200,
      {
        ...page(
          events.filter(
            (e) =>
              (!q.get("outcome") || e.outcome === q.get("outcome")) &&
              (!q.get("actor") || e.actor.name === q.get("actor")) &&
              (!q.get("event") || e.event === q.get("event")) &&
              (!q.get("q") || e.sentence.includes(q.get("q") ?? "")),
          ),
        ),
        anchored: { checkpoint: 31, at: ago(300) },
      },
    ];
  }
  if (path === "/users") return method === "POST" ? [201, { ...users[1], ...body }] : [200, { items: users }];
  if (parts[2] === "sign-in-links")
    return [201, { url: "https://adit.example.net/ui/sign-in#code=ads_Xw0d3F1q8Zc5", expiresAt: ago(-600) }];
  if (parts[2] === "tokens")
    return method === "POST"
      ? [201, { id: "t1", token: "adt_2nVb8xQe1Lk0", expiresAt: ago(-9e6) }]
      : [200, { items: [{ id: "t1", name: "ci", createdAt: ago(4e6), lastUsedAt: ago(300) }] }];
  if (path === "/roles") return [200, { items: roles }];
  if (path === "/grants") return [200, { items: grants }];
  if (path === "/why")
    return [
      200,
      {
        allowed: true,
        sentence: "bob may type on web-1: the role operator includes terminal:input, and grant g2 gives it on web-1.",
        by: "g2",
      },
    ];
  if (path === "/status") return [200, { version: "0.1.0", now: ago(0), gateway: "gw-1", limits: {}, settings: {} }];
  return [404, { code: "not_found", detail: `Nothing is at ${path}.` }];
}

interface Shell {
  child: ChildProcess;
  label: string;
  output: Buffer;
  sockets: Set<WebSocket>;
}
const shells = new Map<string, Shell>();

function shellFor(id: string, label: string): Shell {
  const known = shells.get(id);
  if (known) return known;
  const rc = `PS1='\\[\\e[1;32m\\]ann@${label}\\[\\e[0m\\]:\\[\\e[1;34m\\]\\w\\[\\e[0m\\]$ '; stty cols 120 rows 38`;
  const child = spawn(
    "script",
    ["-qfec", `bash --rcfile <(echo "${rc.replaceAll('"', '\\"').replaceAll("$", "\\$")}")`, "/dev/null"],
    { env: { ...process.env, TERM: "xterm-256color", SHELL: "/bin/bash" }, shell: false },
  );
  const shell: Shell = { child, label, output: Buffer.alloc(0), sockets: new Set() };
  shells.set(id, shell);
  child.stdout?.on("data", (data: Buffer) => {
    const from = shell.output.length;
    shell.output = Buffer.concat([shell.output, data]);
    for (let at = 0; at < data.length; at += 32768)
      for (const socket of shell.sockets)
        socket.send(encodeFrame({ kind: OUTPUT, position: from + at, bytes: data.subarray(at, at + 32768) }));
  });
  child.on("exit", (status) => {
    for (const socket of shell.sockets) {
      say(socket, {
        case: "ended",
        value: { code: "shell.exited", sentence: "The shell exited.", exitStatus: status ?? 0 },
      });
      socket.close(1000);
    }
    shells.delete(id);
  });
  return shell;
}

type Message = NonNullable<MessageInitShape<typeof FromGatewaySchema>["message"]>;
const say = (socket: WebSocket, message: Message) =>
  socket.send(
    encodeFrame({ kind: MESSAGE, message: toBinary(FromGatewaySchema, create(FromGatewaySchema, { message })) }),
  );

function serve(socket: WebSocket): void {
  let shell: Shell | null = null;
  let mode = "control";
  socket.on("message", (data: Buffer) => {
    const frame = decodeFrame(data);
    if (frame.kind !== MESSAGE) {
      if (mode === "control") shell?.child.stdin?.write(frame.bytes);
      say(socket, { case: "inputAck", value: { position: BigInt(frame.position + frame.bytes.length) } });
      return;
    }
    const { message } = fromBinary(FromViewerSchema, frame.message);
    if (message.case === "redeem") {
      const [id = "", how = "control", label = ""] = message.value.ticket.split(" ");
      mode = how;
      shell = shellFor(id, label);
      shell.sockets.add(socket);
      say(socket, {
        case: "admitted",
        value: {
          sessionId: id,
          machineLabel: label,
          capabilities: how === "view" ? ["view"] : ["spawn", "input", "resize", "view"],
          endsAtMs: BigInt(Date.now() + 4e7),
          writer: new Uint8Array([1]),
          recording: "output",
          pty: true,
        },
      });
      say(socket, { case: "state", value: { kind: 2 } });
      say(socket, {
        case: "participants",
        value: {
          list: [
            { name: "ann", canType: true, you: true },
            { name: "dana", canType: false },
          ],
        },
      });
      say(socket, {
        case: "snapshot",
        value: { position: BigInt(shell.output.length), cols: 120, rows: 38, screen: shell.output },
      });
    } else if (message.case === "ping") say(socket, { case: "pong", value: { nonce: message.value.nonce } });
    else if (message.case === "end") shell?.child.kill();
  });
  socket.on("close", () => shell?.sockets.delete(socket));
}

async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "", "http://pretend");
  if (url.pathname.endsWith("/stream")) {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": hello\n\n");
    return;
  }
  let text = "";
  for await (const chunk of request) text += chunk;
  const [status, body, type] = answer(request.method ?? "GET", url, text ? JSON.parse(text) : {});
  response.writeHead(status, {
    "content-type": type ?? (status >= 400 ? "application/problem+json" : "application/json"),
  });
  response.end(
    body === null
      ? undefined
      : typeof body === "string"
        ? body
        : JSON.stringify(status >= 400 ? { type: "about:blank", title: "Refused", status, ...(body as object) } : body),
  );
}

function attach(server: ViteDevServer | PreviewServer): void {
  const sockets = new WebSocketServer({ noServer: true });
  server.httpServer?.on("upgrade", (request, socket, head) => {
    if (request.url?.startsWith("/ws/terminal")) sockets.handleUpgrade(request, socket as Socket, head, serve);
  });
  server.middlewares.use((request, response, next) => {
    if (request.url?.startsWith("/api/")) void respond(request, response);
    else next();
  });
}

export function pretend(): Plugin {
  return { name: "pretend-gateway", configureServer: attach, configurePreviewServer: attach };
}
