// Drives the console in Chromium, as a person does.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const web = createRequire(new URL("../../web/package.json", import.meta.url));
const { chromium } = web("playwright-core");

const WAIT_MS = 60_000; // a limit and no measure: a loaded machine may take that long

/** A browser, and what its pages did that they must not do. */
export class Browser {
  constructor(browser) {
    this.browser = browser;
    /** Requests that left the console's origin, and errors that pages reported. */
    this.foreign = [];
    this.errors = [];
  }

  static async start() {
    const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    return new Browser(await chromium.launch({ executablePath, args }));
  }

  close() {
    return this.browser.close();
  }

  /** Closes the windows of a test. */
  async closeWindows() {
    for (const context of this.browser.contexts()) await context.close();
  }

  /** A window of its own, with nobody signed in. Screen reader mode makes the terminal's text readable from outside. */
  async window(adit, options = {}) {
    const context = await this.browser.newContext({
      viewport: { width: 1200, height: 800 },
      permissions: ["clipboard-read", "clipboard-write"],
      ...options,
    });
    await context.addInitScript(() => {
      // Files that the gateway gives out have no storage.
      if (location.pathname.startsWith("/ui/")) localStorage.setItem("adit.terminal.reader", "on");
    });
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    page.on("request", (request) => {
      const { protocol, host } = new URL(request.url());
      if (host !== new URL(adit.url).host && protocol !== "data:" && protocol !== "blob:")
        this.foreign.push(request.url());
    });
    page.on("pageerror", (error) => this.errors.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error" && !/Failed to load resource|WebSocket connection/.test(message.text())) {
        this.errors.push(message.text());
      }
    });
    return new Window(page, adit);
  }
}

/** One window of the console. */
export class Window {
  constructor(page, adit) {
    this.page = page;
    this.adit = adit;
  }

  /** Opens a path below /ui. */
  async open(path) {
    await this.page.goto(`${this.adit.url}/ui${path}`);
  }

  async signIn(link = this.adit.link) {
    await this.page.goto(link);
    await this.page.getByRole("heading", { level: 1, name: /Machines|Audit|Sessions|Recordings|Jobs/ }).waitFor();
  }

  /** Connects to the machine by its button, and waits for a prompt. */
  async connect() {
    await this.open("/machines");
    await this.page.getByRole("button", { name: `Connect to ${this.adit.machine}` }).click();
    await this.live();
  }

  async live() {
    await this.page.locator('[data-status="live"]').first().waitFor();
  }

  /** The id of the session that the address names. */
  async session() {
    await this.page.waitForURL(/\/ui\/terminal\/[0-9a-f-]{36}/);
    return new URL(this.page.url()).pathname.split("/").at(-1);
  }

  /** Types into the terminal that has the focus. */
  async type(text) {
    await this.focus();
    await this.page.keyboard.type(text);
  }

  async run(command) {
    await this.type(command);
    await this.page.keyboard.press("Enter");
  }

  async focus() {
    await this.page.locator(".pane:not(.hidden) .xterm-helper-textarea").last().focus();
  }

  /** Waits until the terminal shows a text. */
  async shows(text) {
    await this.page.waitForFunction(
      ([needle, selector]) => {
        const rows = [...document.querySelectorAll(selector)].map((row) => row.textContent ?? "");
        return rows
          .join("\n")
          .replace(/\u00a0/g, " ")
          .includes(needle);
      },
      [text, SCREEN_ROWS],
    );
  }

  /** What the terminal shows, a line each. */
  async screen() {
    const rows = await this.page.locator(SCREEN_ROWS).allTextContents();
    return rows.map((row) => row.replace(/\u00a0/g, " ").trimEnd());
  }

  /** Pastes as the browser does for Ctrl-V. */
  async paste(text) {
    await this.focus();
    await this.page.evaluate((pasted) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text/plain", pasted);
      document.activeElement?.dispatchEvent(
        new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }),
      );
    }, text);
  }
}

const SCREEN_ROWS = ".pane:not(.hidden) .xterm-accessibility-tree > div, .stage .xterm-accessibility-tree > div";

/** The serious faults that axe finds on the page as it stands, once nothing on it fades in or slides any more. */
export async function seriousFaults(page) {
  await page.evaluate(() =>
    Promise.allSettled(
      document
        .getAnimations()
        .filter(({ effect }) => effect?.getComputedTiming().iterations !== Number.POSITIVE_INFINITY)
        .map(({ finished }) => finished),
    ),
  );
  const source = await readFile(web.resolve("axe-core/axe.min.js"), "utf8");
  await page.evaluate(source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}
