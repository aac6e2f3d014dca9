// The rule of the JSON form in plain Node, measured: seal a message, then open it with every check.
// Prints one line: {"messagesPerSecond": …}. Arguments: how many seconds to run (1).
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

const secret = "5f0c6a1be2d94378a6c1f20e9b7d5483";
const sessionId = "8d3c0a4e-6a57-4f2b-9f10-1c2d3e4f5a6b";
const machineId = "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9";
const value = { data: "ls -la /var/log\r", seq: 42 };
const skewMs = 60_000;
const nonces = new Map();

function hmacOf({ type, sessionId, machineId, payload, nonce, timestamp }) {
  const text = JSON.stringify({ type, sessionId, machineId, payload, nonce, timestamp });
  return createHmac("sha256", secret).update(text).digest("hex");
}

function seal(type, value) {
  const data = { sessionId, machineId, payload: JSON.stringify(value), nonce: randomBytes(16).toString("hex"), timestamp: new Date().toISOString() };
  data.hmac = hmacOf({ type, ...data });
  return JSON.stringify({ type, sessionToken: null, data });
}

const outerKeys = ["data", "sessionToken", "type"];
const dataKeys = ["hmac", "machineId", "nonce", "payload", "sessionId", "timestamp"];
const types = new Set(["terminal_spawn", "terminal_input", "terminal_resize", "execute_command"]);
const id = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function hasExactly(value, keys) {
  if (typeof value !== "object" || value === null) return false;
  const own = Object.keys(value).sort();
  return own.length === keys.length && keys.every((key, at) => key === own[at]);
}

function wellFormed({ type, data }) {
  if (!types.has(type) || !hasExactly(data, dataKeys) || !Object.values(data).every((field) => typeof field === "string")) return false;
  if (!id.test(data.sessionId) || !id.test(data.machineId)) return false;
  if (!/^[0-9a-f]{32}$/.test(data.nonce) || !/^[0-9a-f]{64}$/.test(data.hmac)) return false;
  const at = new Date(data.timestamp);
  return !Number.isNaN(at.getTime()) && at.toISOString() === data.timestamp;
}

function open(text) {
  if (Buffer.byteLength(text) > 65_536) return "too large";
  const message = JSON.parse(text);
  if (!hasExactly(message, outerKeys) || !wellFormed(message)) return "malformed";
  const { type, data } = message;
  if (data.machineId !== machineId || data.sessionId !== sessionId) return "mismatch";
  const at = Date.parse(data.timestamp);
  if (!(Math.abs(Date.now() - at) <= skewMs)) return "timestamp";
  if (!timingSafeEqual(Buffer.from(hmacOf({ type, ...data }), "hex"), Buffer.from(data.hmac, "hex"))) return "hmac";
  if (nonces.has(data.nonce)) return "replay";
  nonces.set(data.nonce, at + skewMs);
  return undefined;
}

function run(messages) {
  for (let i = 0; i < messages; i++) {
    if (open(seal("terminal_input", value)) !== undefined) throw new Error("a good message was refused");
  }
  nonces.clear();
  return messages;
}

const seconds = Number(process.argv[2] ?? 1);
run(5000);
const start = performance.now();
let messages = 0;
while (performance.now() - start < seconds * 1000) messages += run(1000);
console.log(JSON.stringify({ messagesPerSecond: Math.round(messages / ((performance.now() - start) / 1000)) }));
