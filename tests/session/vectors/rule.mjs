// The rule of the JSON form, written by itself in JavaScript: each line of stdin is one request, each line of stdout its answer.
//
//   {"seal": {type, sessionId, machineId, payload, nonce, timestamp}, "secret": …}  →  the message
//   {"open": "the message", "secret": …, "now": ms}                                 →  {"valid": true, "payload": …} or {"valid": false, "reason": …}
//
// `node rule.mjs vectors` writes vectors.json anew.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

function hmacOf({ type, sessionId, machineId, payload, nonce, timestamp }, secret) {
  const text = JSON.stringify({ type, sessionId, machineId, payload, nonce, timestamp });
  return createHmac("sha256", secret).update(text).digest("hex");
}

function seal(fields, secret) {
  const { type, sessionId, machineId, payload, nonce, timestamp } = fields;
  const data = { sessionId, machineId, payload, nonce, timestamp, hmac: hmacOf(fields, secret) };
  return JSON.stringify({ type, sessionToken: null, data });
}

function open(message, secret, now) {
  const { type, data } = JSON.parse(message);
  if (typeof data.payload !== "string" || !/^[0-9a-f]{32}$/.test(data.nonce)) return { valid: false, reason: "malformed" };
  if (!(Math.abs(now - Date.parse(data.timestamp)) <= 60_000)) return { valid: false, reason: "timestamp" };
  const [ours, theirs] = [hmacOf({ type, ...data }, secret), data.hmac].map((hex) => Buffer.from(hex, "hex"));
  if (ours.length !== theirs.length || !timingSafeEqual(ours, theirs)) return { valid: false, reason: "hmac" };
  return { valid: true, payload: data.payload };
}

function vectors() {
  const ids = {
    sessionId: "8d3c0a4e-6a57-4f2b-9f10-1c2d3e4f5a6b",
    machineId: "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9",
    timestamp: "2026-11-22T11:20:30.123Z",
  };
  const controls = String.fromCharCode(...Array.from({ length: 32 }, (_, code) => code));
  const payloads = [
    ["input", "terminal_input", JSON.stringify({ data: "ls -la\r" })],
    ["spawn", "terminal_spawn", JSON.stringify({ cols: 80, rows: 24, term: "xterm-256color" })],
    ["resize", "terminal_resize", JSON.stringify({ cols: 132, rows: 43 })],
    ["command", "execute_command", JSON.stringify({ command: ["sh", "-c", 'printf "%s\\n" "$1"', "x"] })],
    ["output", "terminal_output", JSON.stringify({ data: "\u001b[31mred\u001b[0m\r\n" })],
    ["exit", "terminal_exit", JSON.stringify({ status: 7 })],
    ["empty", "terminal_input", ""],
    ["every control sign", "terminal_input", controls],
    ["control signs in JSON in a string", "terminal_input", JSON.stringify({ data: controls })],
    ["quotes and backslashes", "terminal_input", '"\\"\\\\"/\'`'],
    ["what looks like escapes", "terminal_input", "\\u0041\\n\\ud800 \\x"],
    ["delete and C1", "terminal_input", "\u007f\u0080\u009b"],
    ["line separators", "terminal_input", "\u2028\u2029"],
    ["byte order mark and noncharacters", "terminal_input", "\ufeff\ufffe\uffff\u{10ffff}"],
    ["composed and decomposed", "terminal_input", "\u00e9e\u0301 \u212b\u00c5"],
    ["wide, emoji and joined", "terminal_input", "漢字 😀 👩‍👩‍👧‍👦 \u{1f1e6}\u{1f1f9}"],
    ["right to left", "terminal_input", "\u202eabc\u202c שלום"],
    ["script end", "terminal_input", "</script><!--"],
    ["numbers of many spellings", "terminal_input", '{"a":1e2,"b":100,"c":-0,"d":1.0,"d":2}'],
    ["a key that is special in JavaScript", "terminal_input", '{"__proto__":{"x":1}}'],
    ["lone high surrogate", "terminal_input", "a\ud800b"],
    ["lone low surrogate", "terminal_input", "\udfff"],
    ["surrogates the wrong way round", "terminal_input", "\ude00\ud83d"],
    ["a lone one before a pair", "terminal_input", "\ud83d\ud83d\ude00"],
    ["a long line", "terminal_input", JSON.stringify({ data: 'é"\\\n😀\u0001x'.repeat(1000) })],
  ];
  const secrets = ["5f0c6a1be2d94378a6c1f20e9b7d5483", "Pässwort mit Umlaut und 🔑", "x".repeat(100)];
  return payloads.map(([name, type, payload], at) => {
    const secret = secrets[at % secrets.length];
    const nonce = at.toString(16).padStart(2, "0").repeat(16);
    const { timestamp, ...target } = ids;
    const fields = { type, ...target, payload, nonce, timestamp };
    return { name, secret, ...fields, message: seal(fields, secret) };
  });
}

if (process.argv[2] === "vectors") {
  console.log(JSON.stringify(vectors(), null, 1));
} else {
  for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
    const request = JSON.parse(line);
    console.log(request.seal ? seal(request.seal, request.secret) : JSON.stringify(open(request.open, request.secret, request.now)));
  }
}
