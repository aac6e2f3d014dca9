import { untrack } from "svelte";
import { api, take } from "../api/client";
import { Loaded } from "../api/list.svelte";
import { live } from "../api/live.svelte";
import type { Assignment, Instance, MachineSession, MachineTicket } from "../api/types";
import { lives } from "./words";

/** What machines may reach of each other, and what they do: the lists that the page's five tabs show. */
export class Reach {
  registry = new Loaded(() => take(api.GET("/api/tickets/scopes")));
  holders = new Loaded(async () => (await take(api.GET("/api/tickets/capabilities"))).holders);
  tickets = new Loaded(async () => (await take(api.GET("/api/tickets"))).tickets);
  sessions = new Loaded(async () => (await take(api.GET("/api/tickets/sessions"))).sessions);
  #due: ReturnType<typeof setTimeout> | null = null;
  #loadedAt = 0;
  #loading: Promise<void> = Promise.resolve();

  get scopes() {
    return this.registry.data?.scopes ?? [];
  }

  get instances() {
    return this.registry.data?.instances ?? [];
  }

  get assignments() {
    return this.registry.data?.assignments ?? [];
  }

  /** The names of all capabilities that are registered. */
  get capabilities(): string[] {
    return this.scopes.flatMap((scope) => scope.scopes.map((action) => action.name));
  }

  get liveSessions(): MachineSession[] {
    return (this.sessions.data ?? []).filter(lives);
  }

  /** What a machine, or whoever speaks for one, holds. */
  held(label: string): string[] {
    return this.holders.data?.find((holder) => holder.agentLabel === label)?.capabilities ?? [];
  }

  instance(id: string): Instance | undefined {
    return this.instances.find((instance) => instance.instanceId === id);
  }

  /** The instance that an assignment is to. */
  assigned(assignment: Assignment): Instance | undefined {
    return this.instances.find((instance) => instance.instanceScope === assignment.instanceScope);
  }

  /** The session that a ticket opened. */
  sessionOf(ticket: MachineTicket): MachineSession | undefined {
    return this.sessions.data?.find((session) => session.ticketId === ticket.id);
  }

  async load(): Promise<void> {
    this.#loadedAt = Date.now();
    const lists = [this.registry.load(), this.holders.load(), this.tickets.load(), this.sessions.load()];
    this.#loading = Promise.all(lists).then(() => {});
    await this.#loading;
  }

  /** Loads now, at each change, and now and then: a heartbeat of a session and the passing of time are no changes. For use in `$effect`. */
  follow(): () => void {
    untrack(() => void this.load());
    const look = () => {
      if (document.visibilityState === "visible") this.#soon();
    };
    const stop = live.on("tickets", () => this.#soon());
    const timer = setInterval(look, EVERY_MS);
    document.addEventListener("visibilitychange", look);
    return () => {
      stop();
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
      if (this.#due) clearTimeout(this.#due);
      this.#due = null;
    };
  }

  /** Loads once what is under way has come, and not more often than people can read. */
  #soon(): void {
    if (this.#due) return;
    const wait = Math.max(0, this.#loadedAt + APART_MS - Date.now());
    this.#due = setTimeout(async () => {
      await Promise.race([this.#loading, new Promise((over) => setTimeout(over, LONGEST_MS))]);
      this.#due = null;
      await this.load();
    }, wait);
  }
}

const EVERY_MS = 15_000; // a session's last word is at most a minute apart, an instance is stale after five minutes
const APART_MS = 1_000; // many instances send heartbeats, and each is a change
const LONGEST_MS = 10_000; // an answer that takes longer is not waited for
