// How the panes of a tab share the window: a tree of splits, drawn as rectangles so that a pane never moves in the page.

export type Layout<P> = { pane: P } | Split<P>;

export interface Split<P> {
  direction: "row" | "column";
  /** The share of the first part, between 0 and 1. */
  share: number;
  first: Layout<P>;
  second: Layout<P>;
}

/** A rectangle in hundredths of the window. */
export interface Area {
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Divider<P> extends Area {
  split: Split<P>;
  /** What the split as a whole covers: where dragging is measured. */
  whole: Area;
}

const WHOLE: Area = { left: 0, top: 0, width: 100, height: 100 };
const SMALLEST_SHARE = 0.1;

export function panesOf<P>(layout: Layout<P>): P[] {
  return "pane" in layout ? [layout.pane] : [...panesOf(layout.first), ...panesOf(layout.second)];
}

export function place<P>(
  layout: Layout<P>,
  area: Area = WHOLE,
): { panes: (Area & { pane: P })[]; dividers: Divider<P>[] } {
  if ("pane" in layout) return { panes: [{ ...area, pane: layout.pane }], dividers: [] };
  const [one, two] = halves(layout, area);
  const [first, second] = [place(layout.first, one), place(layout.second, two)];
  const divider: Divider<P> = { ...two, split: layout, whole: area };
  return { panes: [...first.panes, ...second.panes], dividers: [divider, ...first.dividers, ...second.dividers] };
}

/** Puts `added` beside `pane`. */
export function splitPane<P>(layout: Layout<P>, pane: P, direction: "row" | "column", added: P): Layout<P> {
  if ("pane" in layout) {
    return layout.pane === pane ? { direction, share: 0.5, first: layout, second: { pane: added } } : layout;
  }
  const [first, second] = [layout.first, layout.second].map((part) => splitPane(part, pane, direction, added));
  return { ...layout, first: first as Layout<P>, second: second as Layout<P> };
}

/** Takes `pane` out; null when nothing is left. */
export function removePane<P>(layout: Layout<P>, pane: P): Layout<P> | null {
  if ("pane" in layout) return layout.pane === pane ? null : layout;
  const first = removePane(layout.first, pane);
  const second = removePane(layout.second, pane);
  if (!first || !second) return first ?? second;
  return { ...layout, first, second };
}

/** Gives one split of the tree another share. */
export function moveDivider<P>(layout: Layout<P>, split: Split<P>, share: number): Layout<P> {
  if ("pane" in layout) return layout;
  if (layout === split) return { ...layout, share: Math.min(Math.max(share, SMALLEST_SHARE), 1 - SMALLEST_SHARE) };
  return {
    ...layout,
    first: moveDivider(layout.first, split, share),
    second: moveDivider(layout.second, split, share),
  };
}

export function mapPanes<P, Q>(layout: Layout<P>, change: (pane: P) => Q): Layout<Q> {
  if ("pane" in layout) return { pane: change(layout.pane) };
  return { ...layout, first: mapPanes(layout.first, change), second: mapPanes(layout.second, change) };
}

function halves<P>(split: Split<P>, { left, top, width, height }: Area): [Area, Area] {
  if (split.direction === "row") {
    const part = width * split.share;
    return [
      { left, top, width: part, height },
      { left: left + part, top, width: width - part, height },
    ];
  }
  const part = height * split.share;
  return [
    { left, top, width, height: part },
    { left, top: top + part, width, height: height - part },
  ];
}
