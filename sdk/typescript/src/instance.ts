/** The source's side: keeps an instance registered, and asks for tickets to it. */

import type { Agent } from "undici";
import type { RegisterInstanceResult, TransportConfig } from "./answer.js";
import { TicketClient } from "./client.js";
import { createTicketDispatcher, type TicketCertConfig } from "./dispatcher.js";
import { isNotFound } from "./error.js";
import type { TicketLogger } from "./logger.js";
import { pause } from "./pause.js";

/** What a {@link TicketInstanceManager} needs. */
export interface TicketInstanceManagerOptions {
  /** The https address of the gateway's machine listener. */
  readonly panelUrl: string;
  readonly certs: TicketCertConfig;
  /** What is offered, such as `shell:connect`. */
  readonly scope: string;
  /** How it is reached. */
  readonly transport: TransportConfig;
  readonly logger: TicketLogger;
  /** Whether the gateway must prove who it is. Default: true. */
  readonly rejectUnauthorized?: boolean;
  /** How often the gateway is told that the source is there. Default: 60000. After 300000 without a word it gives no tickets. */
  readonly instanceHeartbeatIntervalMs?: number;
  /** How long a target waits for its next ticket. Default: 120000. */
  readonly ticketCooldownMs?: number;
}

/** From a start to its stop. */
interface Run {
  readonly client: TicketClient;
  readonly dispatcher: Agent;
  readonly stopping: AbortController;
  ended: Promise<void>;
}

const INSTANCE_HEARTBEAT_INTERVAL_MS = 60_000;
const TICKET_COOLDOWN_MS = 120_000;

/** Registers an instance, keeps it alive, registers it again when it is gone, and takes it back at the end. */
export class TicketInstanceManager {
  readonly #options: TicketInstanceManagerOptions;
  readonly #heartbeatIntervalMs: number;
  readonly #cooldownMs: number;
  /** When a ticket was last asked for, by target: those that cool down, and no others. */
  readonly #askedAt = new Map<string, number>();
  #run: Run | undefined;
  #instance: RegisterInstanceResult | undefined;

  constructor(options: TicketInstanceManagerOptions) {
    this.#options = options;
    this.#heartbeatIntervalMs = options.instanceHeartbeatIntervalMs ?? INSTANCE_HEARTBEAT_INTERVAL_MS;
    this.#cooldownMs = options.ticketCooldownMs ?? TICKET_COOLDOWN_MS;
  }

  /**
   * Registers the instance and begins to send heartbeats. Does nothing where it was started already.
   *
   * @throws When the first registration fails; then nothing runs, and it may be started again.
   */
  async start(): Promise<void> {
    if (this.#run) return;
    const run = this.#open();
    this.#run = run;
    const registered = this.#register(run);
    // Whoever stops it meanwhile waits for this; that it failed is told below.
    run.ended = registered.then(
      () => this.#beat(run),
      () => {},
    );
    try {
      await registered;
    } catch (error) {
      if (this.#run === run) this.#run = undefined;
      await run.dispatcher.destroy();
      throw error;
    }
  }

  /** Ends the heartbeats and every call under way, and takes the instance back as well as it can. */
  async stop(): Promise<void> {
    const run = this.#run;
    if (!run) return;
    this.#run = undefined;
    run.stopping.abort();
    await run.ended;
    const instance = this.#instance;
    this.#instance = undefined;
    this.#askedAt.clear();
    if (instance) await this.#deregister(run, instance);
    await run.dispatcher.destroy();
  }

  /** Tells whether the instance is registered, so that tickets can be asked for. */
  isReady(): boolean {
    return this.#instance !== undefined;
  }

  /** Gives the instance's id; null while it is not registered. Another one after the instance was lost and registered again. */
  getInstanceId(): string | null {
    return this.#instance?.instanceId ?? null;
  }

  /**
   * Asks for a ticket for a target, and gives its id. Gives null while the target cools down, unless `force` is true, and while
   * the instance is not registered.
   *
   * @throws When the gateway gives none; the target does not cool down then.
   */
  async requestTicketForAgent(label: string, force = false): Promise<string | null> {
    const [run, instance] = [this.#run, this.#instance];
    if (!run || !instance) {
      this.#options.logger.warn({ "ticket.target": label }, "no ticket: the instance is not registered");
      return null;
    }
    const now = Date.now();
    this.#forgetCooled(now);
    if (!force && this.#askedAt.has(label)) return null;
    this.#askedAt.set(label, now);
    const { signal } = run.stopping;
    try {
      const { ticket } = await run.client.requestTicket(this.#options.scope, instance.instanceId, label, { signal });
      return ticket.id;
    } catch (error) {
      this.#askedAt.delete(label);
      throw error;
    }
  }

  #open(): Run {
    const { panelUrl, certs, rejectUnauthorized = true, logger } = this.#options;
    const dispatcher = createTicketDispatcher({ certs, rejectUnauthorized });
    const client = new TicketClient({ panelUrl, dispatcher, logger });
    return { client, dispatcher, stopping: new AbortController(), ended: Promise.resolve() };
  }

  async #beat(run: Run): Promise<void> {
    const { signal } = run.stopping;
    try {
      for (;;) {
        await pause(this.#heartbeatIntervalMs, signal);
        await this.#hear(run);
      }
    } catch (error) {
      // Nothing else gets here: a failed heartbeat waits for the next.
      if (!signal.aborted) throw error;
    }
  }

  async #hear(run: Run): Promise<void> {
    try {
      if (!(await this.#isAlive(run))) await this.#register(run);
    } catch (err) {
      run.stopping.signal.throwIfAborted();
      this.#options.logger.warn({ err }, "the gateway did not take the instance's heartbeat");
    }
  }

  async #isAlive(run: Run): Promise<boolean> {
    if (!this.#instance) return false;
    try {
      await run.client.sendInstanceHeartbeat(this.#instance.instanceId, { signal: run.stopping.signal });
      return true;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.#options.logger.warn({ "instance.id": this.#instance.instanceId }, "the instance is gone");
      this.#instance = undefined;
      return false;
    }
  }

  async #register(run: Run): Promise<void> {
    const { scope, transport, logger } = this.#options;
    const { signal } = run.stopping;
    this.#instance = await run.client.registerInstance(scope, transport, { signal });
    logger.info({ "instance.id": this.#instance.instanceId, scope }, "the instance is registered");
  }

  async #deregister(run: Run, { instanceId }: RegisterInstanceResult): Promise<void> {
    const { logger } = this.#options;
    try {
      await run.client.deregisterInstance(instanceId);
      logger.info({ "instance.id": instanceId }, "the instance is taken back");
    } catch (err) {
      logger.warn(
        { err, "instance.id": instanceId },
        "the instance could not be taken back; it is stale in five minutes",
      );
    }
  }

  #forgetCooled(now: number): void {
    for (const [label, at] of this.#askedAt) {
      if (now - at >= this.#cooldownMs) this.#askedAt.delete(label);
    }
  }
}
