// A shell in the browser, as good as a local one: TERM-1, TERM-2, TERM-5, BEY-9, BEY-14.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Adit } from "./adit.mjs";
import { Browser } from "./console.mjs";

let adit;
let browser;

before(async () => {
  adit = await Adit.start();
  browser = await Browser.start();
});

after(async () => {
  await browser?.close();
  await adit?.stop();
});

afterEach(async () => {
  await browser.closeWindows();
  await adit.endSessions();
});

async function signedIn() {
  const window = await browser.window(adit);
  const me = await adit.api("GET", "/api/v1/me");
  const { url } = await adit.api("POST", `/api/v1/users/${me.id}/sign-in-links`, {});
  await window.signIn(url);
  return window;
}

// TERM-2
test("one click opens a shell that answers", async () => {
  const window = await signedIn();
  await window.connect();
  await window.run("echo $((6*7)) is the answer");
  await window.shows("42 is the answer");
});

// BEY-5
test("the ticket of a page is bound to a key that can't leave it", async () => {
  const window = await signedIn();
  const seen = window.page.waitForRequest((request) => request.url().endsWith("/api/v1/tickets"));
  await window.connect();
  await window.run("echo bound $((6*7))");
  await window.shows("bound 42");
  const { dpopJkt } = (await seen).postDataJSON();
  assert.match(dpopJkt, /^[\w-]{43}$/);
  const issued = (await adit.api("GET", "/api/v1/audit?limit=50")).items.filter((one) => one.event === "ticket.issue");
  assert.equal(issued[0].details.boundToKey, true);
});

// TERM-1
test("the shell knows the window's size, and follows it", async () => {
  const window = await signedIn();
  await window.connect();
  await window.run("echo size $(stty size)");
  await window.shows("size 3");
  await window.page.setViewportSize({ width: 700, height: 500 });
  await window.page.locator(".xterm-accessibility-tree > div").nth(24).waitFor({ state: "detached" });
  await window.run("clear; echo now $(stty size)");
  const rows = await window.page.locator(".xterm-accessibility-tree > div").count();
  await window.shows(`now ${rows} `);
});

// DESK-3
test("a sign-out in another tab ends the terminal here, says so, and leaves the shell for the next sign-in", async () => {
  const window = await signedIn();
  await window.connect();
  await window.run("KEPT=still' here'; clear; echo rea''dy");
  await window.shows("ready");
  const session = await window.session();
  const other = await window.page.context().newPage();
  await other.goto(`${adit.url}/ui/machines`);
  await other.evaluate(() =>
    fetch("/api/v1/sign-out", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }),
  );
  const ending = window.page.locator(".ending");
  await ending.getByRole("heading", { name: "Signed out" }).waitFor();
  assert.equal(await ending.getByRole("button", { name: "Again" }).count(), 0);
  await ending.getByRole("link", { name: "Sign in" }).click();
  await window.page.getByRole("heading", { name: /Sign in/ }).waitFor();
  const again = await signedIn();
  await again.open(`/terminal/${session}`);
  await again.live();
  await again.run("echo $KEPT");
  await again.shows("still here");
});

// TERM-5, BEY-9
test("a reload comes back to the same shell and the same screen", async () => {
  const window = await signedIn();
  await window.connect();
  await window.run("export KEPT=yes PS1='re''ady> '; clear; printf 'line %s\\n' one two");
  await window.shows("line two");
  await window.shows("ready>");
  const session = await window.session();
  const before = await window.screen();
  await window.page.reload();
  await window.live();
  await window.shows("line two");
  assert.equal(await window.session(), session);
  assert.deepEqual(await window.screen(), before);
  await window.run("echo kept=$KEPT");
  await window.shows("kept=yes");
});

// R01, BEY-14: the gateway is killed, the shell is not, and every byte comes once.
test("a killed gateway costs nothing but a moment", async () => {
  const window = await signedIn();
  await window.connect();
  await window.run("clear; for i in $(seq 1 400); do echo row $i; sleep 0.02; done; echo all=done");
  await window.shows("row 20");
  await adit.killGateway();
  await window.page.locator('[data-status="reconnecting"]').first().waitFor();
  await window.live();
  await window.shows("all=done");
  const text = await window.page.evaluate(() => {
    const rows = document.querySelector(".xterm-accessibility-tree");
    return [...(rows?.children ?? [])].map((row) => row.textContent ?? "");
  });
  const numbers = text
    .map((row) => /row (\d+)/.exec(row)?.[1])
    .filter(Boolean)
    .map(Number);
  assert.deepEqual(
    numbers,
    Array.from({ length: numbers.length }, (_, at) => 400 - numbers.length + 1 + at),
  );
  await window.run("echo still $((40+2))");
  await window.shows("still 42");
});

// N1, TERM-1: larger than everything that is buffered on the way.
test("a paste of 1 MiB arrives whole and in order", async () => {
  const window = await signedIn();
  await window.connect();
  const text = `${Array.from({ length: 16_384 }, (_, at) => String(at).padStart(63, ".")).join("\n")}\n`;
  const file = join(adit.data, "pasted");
  await window.run(`stty -echo; clear; head -c ${text.length} > ${file}; echo got=$(wc -c < ${file})`);
  await window.paste(text);
  await window.page.getByRole("button", { name: /^Paste 16,385 lines$/ }).click();
  await window.shows(`got=${text.length}`);
  const pasted = await readFile(file);
  const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
  assert.equal(hash(pasted), hash(text));
});

// TERM-4
test("when the shell ends, the window says how, and opens another", async () => {
  const window = await signedIn();
  await window.connect();
  const first = await window.session();
  await window.run("exit 7");
  await window.page.getByText("The shell ended with status 7.").first().waitFor();
  await window.page.getByRole("button", { name: "Again" }).click();
  await window.live();
  await window.page.waitForURL((url) => url.pathname.startsWith("/ui/terminal/") && !url.pathname.endsWith(first));
  await window.run("echo again=$((1+1))");
  await window.shows("again=2");
});

// TERM-6
test("one session too many is refused, with the way to those that are there", async () => {
  const window = await signedIn();
  for (let count = 0; count < 3; count += 1) await window.connect();
  await window.open(`/terminal?machine=${adit.machine}`);
  await window.page
    .getByText(/You have 3 live sessions/)
    .first()
    .waitFor();
  await window.page.getByRole("link", { name: "Your sessions" }).click();
  await window.page.locator(".card").nth(2).waitFor();
  assert.equal(await window.page.locator(".card").count(), 3);
});

// TERM-2
test("a split opens a second shell on the same machine", async () => {
  const window = await signedIn();
  await window.connect();
  await window.focus();
  await window.page.keyboard.press("Alt+Shift+E");
  await window.page.locator('.pane:not(.hidden) [data-status="live"]').nth(1).waitFor();
  assert.equal(await window.page.locator(".pane:not(.hidden)").count(), 2);
});

test("a second window watches and can't type", async () => {
  const typist = await signedIn();
  await typist.connect();
  const session = await typist.session();
  const watcher = await browser.window(adit);
  const viewer = await adit.person("vera", "viewer");
  const frames = [];
  watcher.page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => frames.push(payload[0])));
  await watcher.signIn(viewer.link);
  await watcher.open(`/terminal/${session}?mode=view`);
  await watcher.live();
  await typist.run("clear; echo seen by $((1+1))");
  await watcher.shows("seen by 2");
  await watcher.page.keyboard.type("echo typed by the watcher");
  await watcher.page.keyboard.press("Enter");
  await typist.run("echo after $((2+2))");
  await watcher.shows("after 4");
  assert.ok(!(await typist.screen()).join("\n").includes("typed by the watcher"));
  assert.ok(!frames.includes(2), "a frame of input left the watcher's window");
  await typist.page
    .getByText(/vera: watches/)
    .first()
    .waitFor({ state: "attached" });
});

test("a watcher who asks for more is told that it is not for their role", async () => {
  const typist = await signedIn();
  await typist.connect();
  const session = await typist.session();
  const other = await browser.window(adit);
  await other.signIn((await adit.person("walt", "auditor")).link);
  await other.open(`/terminal/${session}`);
  await other.page.locator('[data-status="ended"]').first().waitFor();
});

// BEY-3: taking the role away ends the live view, and says why.
test("a role that is taken away ends what it allowed", async () => {
  const typist = await signedIn();
  await typist.connect();
  const session = await typist.session();
  const watcher = await browser.window(adit);
  await watcher.signIn((await adit.person("xena", "viewer")).link);
  await watcher.open(`/terminal/${session}?mode=view`);
  await watcher.live();
  const { items } = await adit.api("GET", "/api/v1/grants");
  const grant = items.find(({ principal }) => principal.name === "xena");
  await adit.api("DELETE", `/api/v1/grants/${grant.id}`);
  await watcher.page.locator('[data-status="ended"]').first().waitFor();
  await typist.run("echo not $((3+3))");
  await typist.shows("not 6");
});
