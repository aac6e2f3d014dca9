// xterm.js writes its colours and sizes into <style> elements, which the console's content security policy refuses
// (`style-src 'self'`, without 'unsafe-inline'). The elements are made inert here, and their text goes into constructed
// style sheets, which the policy lets a trusted script make.

let mirroring = false;

/** From now on a <style> element that a script makes takes effect through a constructed sheet. */
export function mirrorStyles(): void {
  if (mirroring) return;
  mirroring = true;
  const create = document.createElement.bind(document) as (
    name: string,
    options?: ElementCreationOptions,
  ) => HTMLElement;
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    const element = create(name, options);
    if (element instanceof HTMLStyleElement) mirror(element);
    return element;
  }) as typeof document.createElement;
}

function mirror(element: HTMLStyleElement): void {
  element.type = "text/mirrored";
  // The makers of the element set its type again.
  Object.defineProperty(element, "type", { get: () => "text/mirrored", set: () => {} });
  const sheet = new CSSStyleSheet();
  const copy = () => sheet.replaceSync(element.textContent ?? "");
  new MutationObserver(copy).observe(element, { childList: true, characterData: true, subtree: true });
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}
