// xterm.js writes its colours and sizes into <style> elements, which the console's content security policy refuses
// (`style-src 'self'`, without 'unsafe-inline'). A hidden element that means nothing stands in for them here, and its text
// goes into a constructed style sheet, which the policy lets a trusted script make.

let mirroring = false;

/** From now on a <style> element that a script asks for takes effect through a constructed sheet. */
export function mirrorStyles(): void {
  if (mirroring) return;
  mirroring = true;
  const create = document.createElement.bind(document) as (
    name: string,
    options?: ElementCreationOptions,
  ) => HTMLElement;
  document.createElement = ((name: string, options?: ElementCreationOptions) =>
    name === "style" ? mirrored(create("mirrored-style")) : create(name, options)) as typeof document.createElement;
}

function mirrored(element: HTMLElement): HTMLElement {
  element.hidden = true;
  const sheet = new CSSStyleSheet();
  const copy = () => sheet.replaceSync(element.textContent ?? "");
  new MutationObserver(copy).observe(element, { childList: true, characterData: true, subtree: true });
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  return element;
}
