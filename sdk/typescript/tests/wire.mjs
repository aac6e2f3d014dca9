// A wire to the gateway that a test cuts and mends.
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Carries the bytes of TCP connections to a gateway and back. */
export class Wire {
  /** @type {Set<import("node:net").Socket>} */
  #sockets = new Set();
  #isCut = false;
  #losesAnswer = false;

  /** @param {string} url */
  constructor(url) {
    const { hostname, port } = new URL(url);
    this.server = createServer((near) => this.#carry(near, hostname, Number(port)));
  }

  /**
   * Lays a wire for the length of a test.
   * @param {import("node:test").TestContext} t
   * @param {string} url the gateway's machine listener
   */
  static async to(t, url) {
    const wire = new Wire(url);
    await new Promise((done) => wire.server.listen(0, "127.0.0.1", () => done(undefined)));
    t.after(() => wire.close());
    return wire;
  }

  get url() {
    const address = /** @type {import("node:net").AddressInfo} */ (this.server.address());
    return `https://127.0.0.1:${address.port}`;
  }

  /** Cuts every connection, and each that is made until it is mended. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  /** Cuts a connection once, when the gateway next says something. */
  loseNextAnswer() {
    this.#losesAnswer = true;
  }

  /** Tells whether a connection is open. */
  get isUsed() {
    return this.#sockets.size > 0;
  }

  async close() {
    this.cut();
    await new Promise((done) => this.server.close(done));
  }

  /**
   * @param {import("node:net").Socket} near
   * @param {string} host
   * @param {number} port
   */
  #carry(near, host, port) {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const far = connect(port, host);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ]) {
      if (!socket || !other) continue;
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    near.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes) => {
      if (this.#losesAnswer) near.destroy();
      else near.write(bytes);
      this.#losesAnswer = false;
    });
  }
}

/**
 * Listens where nobody answers, for the length of a test.
 * @param {import("node:test").TestContext} t
 */
export async function listenInSilence(t) {
  const server = createServer((socket) => {
    t.after(() => socket.destroy());
  });
  t.after(() => server.close());
  const dialled = once(server, "connection");
  await new Promise((listening) => server.listen(0, "127.0.0.1", () => listening(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { url: `https://127.0.0.1:${port}`, dialled };
}
