import { openTabs } from "../app/open-tabs.svelte";
import type { Mode, Target } from "./connection";
import { type Layout, mapPanes, panesOf, removePane, splitPane } from "./layout";
import { TerminalPane } from "./pane.svelte";

const KEY = "adit.terminal.tabs"; // in sessionStorage: a reload of this window finds its tabs, another window does not

interface Saved {
  session: string;
  mode: Mode;
}

export class Tab {
  readonly id = crypto.randomUUID();
  layout = $state.raw<Layout<TerminalPane>>() as Layout<TerminalPane>;
  active = $state.raw<TerminalPane>() as TerminalPane;

  constructor(layout: Layout<TerminalPane>) {
    this.layout = layout;
    this.active = panesOf(layout)[0] as TerminalPane;
  }

  get panes(): TerminalPane[] {
    return panesOf(this.layout);
  }
}

/** The open terminals of this window. They stay open while other pages are shown. */
class Workspace {
  tabs = $state.raw<Tab[]>([]);
  current = $state.raw<Tab | null>(null);

  get pane(): TerminalPane | null {
    return this.current?.active ?? null;
  }

  /** Shows the session's pane, if one is open. */
  find(session: string): boolean {
    for (const tab of this.tabs) {
      const pane = tab.panes.find((each) => each.sessionId === session);
      if (!pane) continue;
      this.show(tab, pane);
      return true;
    }
    return false;
  }

  open(target: Target, mode: Mode): void {
    const tab = new Tab({ pane: new TerminalPane(target, mode) });
    this.tabs = [...this.tabs, tab];
    this.show(tab, tab.active);
  }

  show(tab: Tab, pane: TerminalPane): void {
    tab.active = pane;
    this.current = tab;
    openTabs.count = this.tabs.length;
    pane.focus();
  }

  /** Opens another shell on the machine of the current pane, beside it. */
  split(direction: "row" | "column"): void {
    const { current } = this;
    if (!current?.active.machine) return;
    const added = new TerminalPane({ machine: current.active.machine }, "control");
    current.layout = splitPane(current.layout, current.active, direction, added);
    this.show(current, added);
  }

  duplicate(): void {
    if (this.pane?.machine) this.open({ machine: this.pane.machine }, "control");
  }

  /** Runs again what ended in this pane: a new shell on the same machine, in the same place. */
  again(pane: TerminalPane): void {
    const tab = this.tabs.find((each) => each.panes.includes(pane));
    if (!tab) return;
    const fresh = new TerminalPane({ machine: pane.machine }, "control");
    tab.layout = mapPanes(tab.layout, (each) => (each === pane ? fresh : each));
    pane.dispose();
    this.show(tab, fresh);
  }

  close(pane: TerminalPane): void {
    const tab = this.tabs.find((each) => each.panes.includes(pane));
    if (!tab) return;
    const left = removePane(tab.layout, pane);
    pane.dispose();
    if (left) {
      tab.layout = left;
      this.show(tab, tab.panes[0] as TerminalPane);
    } else {
      this.#closeTab(tab);
    }
    this.save();
  }

  step(by: 1 | -1): void {
    const at = this.current ? this.tabs.indexOf(this.current) : 0;
    const next = this.tabs[(at + by + this.tabs.length) % this.tabs.length];
    if (next) this.show(next, next.active);
  }

  save(): void {
    const saved = this.tabs
      .filter((tab) => tab.panes.some((pane) => pane.sessionId && !pane.ended))
      .map((tab) =>
        mapPanes<TerminalPane, Saved>(tab.layout, (pane) => ({ session: pane.sessionId ?? "", mode: pane.mode })),
      );
    sessionStorage.setItem(KEY, JSON.stringify(saved));
  }

  /** Opens the tabs that this window had before it was loaded again. */
  restore(): void {
    if (this.tabs.length > 0) return;
    for (const saved of readSaved()) {
      const layout = prune(saved);
      if (!layout) continue;
      this.tabs = [...this.tabs, new Tab(mapPanes(layout, ({ session, mode }) => new TerminalPane({ session }, mode)))];
    }
    const first = this.tabs[0];
    if (first) this.show(first, first.active);
  }

  #closeTab(tab: Tab): void {
    const at = this.tabs.indexOf(tab);
    this.tabs = this.tabs.filter((each) => each !== tab);
    openTabs.count = this.tabs.length;
    const next = this.tabs[Math.min(at, this.tabs.length - 1)];
    if (this.current === tab) this.current = next ?? null;
    next?.active.focus();
  }
}

export const workspace = new Workspace();

function readSaved(): Layout<Saved>[] {
  try {
    const saved: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(saved) ? (saved as Layout<Saved>[]) : [];
  } catch {
    return [];
  }
}

/** Leaves out panes that never got a session. */
function prune(layout: Layout<Saved>): Layout<Saved> | null {
  let left: Layout<Saved> | null = layout;
  for (const pane of panesOf(layout)) if (left && !pane.session) left = removePane(left, pane);
  return left;
}
