// What a test sees of the package from outside: its log, its states, and what comes true within a limit.
import { deepStrictEqual } from "node:assert/strict";

const WAIT_MS = 15_000; // a limit and no measure: most waits are over in a few milliseconds
const LOOK_EVERY_MS = 10;

/**
 * Waits until a look gives something, and gives it.
 * @template T
 * @param {string} what
 * @param {() => T | Promise<T>} look
 * @returns {Promise<NonNullable<Exclude<Awaited<T>, false>>>}
 */
export async function until(what, look) {
  const end = performance.now() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found) return /** @type {any} */ (found);
    if (performance.now() > end) throw new Error(`${what}: not within ${WAIT_MS} ms`);
    await new Promise((next) => setTimeout(next, LOOK_EVERY_MS));
  }
}

/** A logger that keeps what it is told. */
export class Journal {
  /** @type {{ level: string, fields: any, message: string }[]} */
  entries = [];

  debug = this.#level("debug");
  info = this.#level("info");
  warn = this.#level("warn");
  error = this.#level("error");

  /** @param {string} message */
  count(message) {
    return this.entries.filter((entry) => entry.message === message).length;
  }

  /** @param {string} level */
  #level(level) {
    return (/** @type {object} */ fields, /** @type {string} */ message) => {
      this.entries.push({ level, fields, message });
    };
  }
}

/** The states that a session manager told, in order. */
export class States {
  /** @type {(string | undefined)[][]} */
  told = [];

  /** @type {(state: string, reason?: string) => void} */
  note = (state, reason) => {
    this.told.push(reason === undefined ? [state] : [state, reason]);
  };

  /**
   * Waits until as many were told, and compares them.
   * @param {...string[]} expected
   */
  async are(...expected) {
    await until(
      `states ${JSON.stringify(expected)}, told ${JSON.stringify(this.told)}`,
      () => this.told.length >= expected.length,
    );
    deepStrictEqual(this.told.slice(0, expected.length), expected);
  }
}
