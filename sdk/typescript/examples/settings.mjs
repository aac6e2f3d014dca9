// What both examples are told by their environment.
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The https address of the gateway's machine listener. */
export const panelUrl = needed("ADIT_PANEL_URL");

/** What is offered, and what tickets are used for. */
export const scope = process.env.ADIT_SCOPE ?? "shell:connect";

/** The machine's certificate: ADIT_P12 with ADIT_P12_PASSWORD_FILE, or ADIT_CERTS, the folder that `adit cert issue` wrote. */
export const certs = process.env.ADIT_P12 ? bundle(process.env.ADIT_P12) : folder(needed("ADIT_CERTS"));

/** A logger in pino's shape that writes JSON lines. Any logger of that shape will do. */
export const logger = { debug() {}, info: line("info"), warn: line("warn"), error: line("error") };

/**
 * Reads a length of time in milliseconds.
 * @param {string} name
 * @param {number} otherwise
 */
export function milliseconds(name, otherwise) {
  return Number(process.env[name] ?? otherwise);
}

/** Waits until the program is asked to end. */
export function ended() {
  return new Promise((end) => {
    process.once("SIGINT", end);
    process.once("SIGTERM", end);
  });
}

/** @param {string} name */
function needed(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set; README.md says what it is`);
  process.exit(2);
}

/** @param {string} p12Path */
function bundle(p12Path) {
  return { p12Path, p12Password: readFileSync(needed("ADIT_P12_PASSWORD_FILE"), "utf8").trimEnd() };
}

/** @param {string} path */
function folder(path) {
  return { certPath: join(path, "cert.pem"), keyPath: join(path, "key.pem"), caPath: join(path, "ca.pem") };
}

/** @param {string} level */
function line(level) {
  return (/** @type {object} */ fields, /** @type {string} */ message) => {
    const shown = (/** @type {string} */ _, /** @type {unknown} */ value) =>
      value instanceof Error ? value.message : value;
    console.log(JSON.stringify({ level, message, ...fields }, shown));
  };
}
