import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FromGatewaySchema, FromViewerSchema } from "../generated/adit/terminal/v1/terminal_pb";
import { Connection, Refused, type Screen, type Status, type Target, type World } from "./connection";
import { type DataFrame, decodeFrame, encodeFrame, INPUT, MESSAGE, OUTPUT } from "./frame";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

type FromGateway = Exclude<MessageInitShape<typeof FromGatewaySchema>["message"], undefined>;
const WRITER = new Uint8Array([7, 7]);
const text = (value: string) => new TextEncoder().encode(value);
const admission = {
  sessionId: "s1",
  machineLabel: "web-1",
  capabilities: ["input", "resize", "view"],
  endsAtMs: 5n,
  writer: WRITER,
  recording: "output",
  pty: true,
  graceMs: 30_000n,
};

/** A socket whose other end is the test. */
class FakeSocket {
  readyState = 0;
  binaryType = "";
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  sent: Uint8Array[] = [];

  send(bytes: Uint8Array) {
    this.sent.push(bytes);
  }

  close() {
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  say(message: FromGateway) {
    this.#receive(
      encodeFrame({ kind: MESSAGE, message: toBinary(FromGatewaySchema, create(FromGatewaySchema, { message })) }),
    );
  }

  output(position: number, value: string) {
    this.#receive(encodeFrame({ kind: OUTPUT, position, bytes: text(value) }));
  }

  lose(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }

  get messages() {
    const frames = this.sent.map(decodeFrame);
    return frames.flatMap((frame) =>
      frame.kind === MESSAGE ? [fromBinary(FromViewerSchema, frame.message).message] : [],
    );
  }

  get input(): DataFrame[] {
    return this.sent.map(decodeFrame).filter((frame): frame is DataFrame => frame.kind === INPUT);
  }

  #receive(bytes: Uint8Array<ArrayBuffer>) {
    this.onmessage?.({ data: bytes.buffer });
  }
}

function setUp(mode: "control" | "view" = "control", target: Target = { machine: "web-1" }) {
  const sockets: FakeSocket[] = [];
  const asked: Target[] = [];
  const seen = { status: [] as Status[], text: "", restored: [] as string[], notices: [] as string[] };
  const world: World & { refuse: Error | null } = {
    refuse: null,
    async ticket(wanted) {
      asked.push(wanted);
      if (world.refuse) throw world.refuse;
      return { ticket: `ticket ${asked.length}`, url: "/ws/terminal", proof: `proof ${asked.length}` };
    },
    open() {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
    now: () => Date.now(),
    wall: () => Date.now(),
    random: () => 1,
  };
  const screen: Screen = {
    size: () => ({ cols: 80, rows: 24 }),
    write: (bytes, shown) => {
      seen.text += new TextDecoder().decode(bytes);
      shown();
    },
    restore: (bytes) => void seen.restored.push(new TextDecoder().decode(bytes)),
    resized: () => {},
    admitted: () => {},
    participants: () => {},
    notice: (code) => void seen.notices.push(code),
    status: (status) => void seen.status.push(status),
  };
  const connection = new Connection(world, screen, target, mode);
  const last = () => sockets.at(-1) as FakeSocket;
  const status = () => seen.status.at(-1) as Status;
  async function admitted(inputPosition = 0n, capabilities = admission.capabilities, writer = WRITER) {
    await vi.advanceTimersByTimeAsync(0);
    last().open();
    last().say({ case: "admitted", value: { ...admission, inputPosition, capabilities, writer } });
    return last();
  }
  return { connection, world, sockets, asked, seen, status, last, admitted };
}

test("the first frame redeems the ticket with the size of the window", async () => {
  const { connection, admitted, status } = setUp();
  connection.start();
  const socket = await admitted();
  expect(socket.messages[0]).toMatchObject({
    case: "redeem",
    value: { ticket: "ticket 1", proof: "proof 1", cols: 80, rows: 24 },
  });
  expect(status().kind).toBe("live");
});

test("what is typed before the session is open is sent once it is", async () => {
  const { connection, admitted } = setUp();
  connection.start();
  connection.type(text("ls\r"));
  const socket = await admitted();
  expect(socket.input).toMatchObject([{ position: 0, bytes: text("ls\r") }]);
});

// R01: every byte once, after a gateway that was killed.
test("after a loss the stream goes on where the screen stands, and input where the machine stands", async () => {
  const { connection, asked, admitted, sockets, seen } = setUp();
  connection.start();
  const first = await admitted();
  first.output(0, "hello ");
  connection.type(text("abcdef"));
  first.say({ case: "inputAck", value: { position: 2n } });
  first.lose(1012);
  await vi.advanceTimersByTimeAsync(100);
  const second = await admitted(4n);
  expect(sockets).toHaveLength(2);
  expect(asked).toEqual([{ machine: "web-1" }, { session: "s1" }]);
  expect(second.messages[0]).toMatchObject({ value: { outputPosition: 6n, writer: WRITER, inputPosition: 2n } });
  expect(second.input).toMatchObject([{ position: 4, bytes: text("ef") }]);
  second.output(3, "lo world");
  expect(seen.text).toBe("hello world");
});

// R31: a laptop that slept for two hours.
test("keys from before a sleep longer than the grace are dropped, and later ones sent by another writer", async () => {
  const { connection, admitted, seen } = setUp();
  connection.start();
  const first = await admitted();
  connection.type(text("sent\r"));
  first.lose();
  connection.type(text("rm -r old\r"));
  vi.setSystemTime(Date.now() + 7_200_000);
  connection.type(text("new\r"));
  await vi.advanceTimersByTimeAsync(100);
  const second = await admitted(40n, admission.capabilities, new Uint8Array([8, 8]));
  expect(second.messages[0]).toMatchObject({ value: { writer: new Uint8Array() } });
  expect(second.input).toMatchObject([{ position: 40, bytes: text("new\r") }]);
  expect(seen.notices).toEqual(["input.old"]);
});

test("keys from within the grace are sent on coming back", async () => {
  const { connection, admitted, seen } = setUp();
  connection.start();
  (await admitted()).lose();
  connection.type(text("ls\r"));
  vi.setSystemTime(Date.now() + 20_000);
  await vi.advanceTimersByTimeAsync(100);
  expect((await admitted()).input).toMatchObject([{ position: 0, bytes: text("ls\r") }]);
  expect(seen.notices).toEqual([]);
});

test("attempts come slower and slower, and at once when the page is shown again", async () => {
  const { connection, world, asked } = setUp();
  world.refuse = new Error("no network");
  connection.start();
  await vi.advanceTimersByTimeAsync(60_000);
  const attempts = asked.length;
  expect(attempts).toBeGreaterThan(12);
  expect(attempts).toBeLessThan(22);
  connection.nudge();
  await vi.advanceTimersByTimeAsync(0);
  expect(asked.length).toBe(attempts + 1);
});

test("a refusal ends the attempts with its reason", async () => {
  const { connection, world, asked, status } = setUp();
  world.refuse = new Refused("session.ended", "This session has ended.");
  connection.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(1);
  expect(status()).toEqual({ kind: "ended", ending: { code: "session.ended", sentence: "This session has ended." } });
});

test("a rewind waits, and then sends again from where it says", async () => {
  const { connection, admitted } = setUp();
  connection.start();
  const socket = await admitted();
  connection.type(text("abcd"));
  socket.say({ case: "inputRewind", value: { position: 1n, retryAfterMs: 500, code: "rate_limited" } });
  connection.type(text("e"));
  expect(socket.input).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(500);
  expect(socket.input[1]).toMatchObject({ position: 1, bytes: text("bcde") });
});

// BRW-33: nothing a watcher's terminal answers reaches the machine.
test("a watcher sends no input", async () => {
  const { connection, admitted } = setUp("view", { session: "s1" });
  connection.start();
  connection.type(text("early"));
  const socket = await admitted(0n, ["view"]);
  connection.type(text("\u001b[?1;2c"));
  expect(socket.input).toEqual([]);
});

test("output is acknowledged within 100 ms, and the echo of a few keys within a second", async () => {
  const { connection, admitted } = setUp();
  connection.start();
  const socket = await admitted();
  const acknowledged = () =>
    socket.messages.flatMap((message) => (message.case === "outputAck" ? [message.value.position] : []));
  socket.output(0, "hello");
  await vi.advanceTimersByTimeAsync(900);
  expect(acknowledged()).toEqual([]);
  await vi.advanceTimersByTimeAsync(100);
  expect(acknowledged()).toEqual([5n]);
  socket.output(5, "x");
  socket.output(6, "y".repeat(5000));
  await vi.advanceTimersByTimeAsync(100);
  expect(acknowledged()).toEqual([5n, 5006n]);
});

test("a gap in the output brings a new connection from the last good byte", async () => {
  const { connection, admitted, last } = setUp();
  connection.start();
  const first = await admitted();
  first.output(0, "abc");
  first.output(5, "late");
  await vi.advanceTimersByTimeAsync(100);
  await admitted();
  expect(last()).not.toBe(first);
  expect(last().messages[0]).toMatchObject({ value: { outputPosition: 3n } });
});

test("a snapshot says where the stream goes on", async () => {
  const { connection, admitted, seen } = setUp();
  connection.start();
  const socket = await admitted();
  socket.say({ case: "snapshot", value: { position: 900n, cols: 80, rows: 24, screen: text("screen") } });
  socket.output(900, "after");
  expect([seen.restored, seen.text]).toEqual([["screen"], "after"]);
});

test("a gateway that stops answering is left", async () => {
  const { connection, admitted, status, sockets } = setUp();
  connection.start();
  const socket = await admitted();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(status().kind).toBe("reconnecting");
  expect(socket.readyState).toBe(3);
  await vi.advanceTimersByTimeAsync(200);
  expect(sockets.length).toBe(2);
});

test("an answered ping gives the latency and the next ping", async () => {
  const { connection, admitted, status } = setUp();
  connection.start();
  const socket = await admitted();
  await vi.advanceTimersByTimeAsync(12);
  socket.say({ case: "pong", value: { nonce: 1n } });
  expect(status()).toEqual({ kind: "live", latencyMs: 12 });
  await vi.advanceTimersByTimeAsync(5000);
  expect(socket.messages.filter((message) => message.case === "ping")).toHaveLength(2);
});

// TERM-4
test("the end says why, and nothing is tried again", async () => {
  const { connection, admitted, status, sockets } = setUp();
  connection.start();
  const socket = await admitted();
  socket.say({
    case: "ended",
    value: { code: "shell.exited", sentence: "The shell exited.", exitStatus: 7, signal: "" },
  });
  socket.lose(1000);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(status()).toEqual({
    kind: "ended",
    ending: { code: "shell.exited", sentence: "The shell exited.", exitStatus: 7, signal: undefined },
  });
  expect(sockets).toHaveLength(1);
});

test("a refusal that passes by itself is tried again", async () => {
  const { connection, last, sockets, status } = setUp("control", { session: "s1" });
  connection.start();
  await vi.advanceTimersByTimeAsync(0);
  last().open();
  last().say({ case: "ended", value: { code: "target.offline", sentence: "The machine is offline." } });
  last().onclose?.({ code: 1011, reason: "target.offline" });
  expect(status().kind).toBe("reconnecting");
  await vi.advanceTimersByTimeAsync(100);
  expect(sockets).toHaveLength(2);
});

test("a machine that is offline opens no shell later by itself", async () => {
  const { connection, last, status } = setUp();
  connection.start();
  await vi.advanceTimersByTimeAsync(0);
  last().open();
  last().say({ case: "ended", value: { code: "target.offline", sentence: "The machine is offline." } });
  expect(status()).toMatchObject({ kind: "ended", ending: { sentence: "The machine is offline." } });
});

// TERM-4
test("a close for good ends the session, another brings it back", async () => {
  for (const [code, kind] of [
    [1008, "ended"],
    [1011, "ended"],
    [1012, "reconnecting"],
    [1013, "reconnecting"],
    [1006, "reconnecting"],
  ] as const) {
    const { connection, admitted, status } = setUp();
    connection.start();
    (await admitted()).lose(code);
    expect(status().kind).toBe(kind);
    connection.close();
  }
});

test("a machine that is away is told apart from a gateway that is away", async () => {
  const { connection, admitted, status } = setUp();
  connection.start();
  const socket = await admitted();
  socket.say({ case: "state", value: { kind: 3, sentence: "The machine is away." } });
  expect(status()).toMatchObject({ kind: "reconnecting", sentence: "The machine is away." });
  socket.say({ case: "state", value: { kind: 2 } });
  expect(status().kind).toBe("live");
});
