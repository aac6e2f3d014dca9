import Captions from "@lucide/svelte/icons/captions";
import CirclePlay from "@lucide/svelte/icons/circle-play";
import KeyRound from "@lucide/svelte/icons/key-round";
import ListChecks from "@lucide/svelte/icons/list-checks";
import Past from "@lucide/svelte/icons/rotate-ccw-clock";
import ScrollText from "@lucide/svelte/icons/scroll-text";
import Server from "@lucide/svelte/icons/server";
import Tickets from "@lucide/svelte/icons/tickets";
import type { Component } from "svelte";
import { account } from "./me.svelte";

export interface Part {
  path: string;
  name: string;
  icon: Component;
  /** Any of these shows the part, none at all shows it to everybody; a part that the caller may not use is not there. */
  needs: string[];
  /** What it needs is needed on everything and not on some machine: it belongs to no machine. */
  everywhere?: boolean;
  /** Whoever has this does not need it: another part leads there. */
  unless?: string;
  /** The first parts of other paths that belong to it. */
  also?: string[];
  /** What else it is found by. */
  note?: string;
}

const PARTS: Part[] = [
  { path: "/machines", name: "Machines", icon: Server, needs: ["machine:view"] },
  { path: "/sessions", name: "Sessions", icon: Captions, needs: ["terminal:spawn", "terminal:view", "session:list"] },
  { path: "/recordings", name: "Recordings", icon: CirclePlay, needs: ["recording:view"] },
  {
    path: "/commands",
    name: "Commands",
    icon: ListChecks,
    needs: ["job:run"],
    also: ["jobs"],
    note: "templates, run on machines",
  },
  {
    path: "/jobs",
    name: "Jobs",
    icon: Past,
    needs: ["job:view", "access:approve"],
    unless: "job:run",
    note: "what was run, and how it ended",
  },
  {
    path: "/tickets",
    name: "Tickets",
    icon: Tickets,
    needs: ["ticket:view"],
    everywhere: true,
    note: "scopes, instances, assignments between machines",
  },
  { path: "/access", name: "Access", icon: KeyRound, needs: [] },
  { path: "/audit", name: "Audit", icon: ScrollText, needs: ["audit:read"], everywhere: true },
];

/** The parts of the console that the signed-in person may use. */
export function usableParts(): Part[] {
  const may = (part: Part, capability: string) =>
    part.everywhere ? account.mayEverywhere(capability) : account.may(capability);
  return PARTS.filter(
    (part) =>
      (part.needs.length === 0 || part.needs.some((capability) => may(part, capability))) &&
      !(part.unless && may(part, part.unless)),
  );
}
