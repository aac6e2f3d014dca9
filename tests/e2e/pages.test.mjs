// Every page of the console: signing in, lists, the player, the log, keys, and what axe says of each.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { Adit } from "./adit.mjs";
import { Browser, seriousFaults } from "./console.mjs";

let adit;
let browser;
let window;
let recording;

before(async () => {
  adit = await Adit.start();
  browser = await Browser.start();
  window = await browser.window(adit);
});

after(async () => {
  await browser?.close();
  await adit?.stop();
});

afterEach(() => adit.endSessions());

test("the printed link signs in once, and leaves no code behind", async () => {
  await window.signIn();
  assert.ok(!window.page.url().includes("code"));
  await window.page.goBack().catch(() => {});
  assert.ok(!window.page.url().includes("code"));
  const second = await browser.window(adit);
  await second.page.goto(adit.link);
  await second.page.getByText("This link does not open anything.").waitFor();
});

test("without a code the page says how to get one", async () => {
  const other = await browser.window(adit);
  await other.open("/machines");
  await other.page.getByRole("heading", { name: "Sign in to Adit" }).waitFor();
  await other.page.getByText("No password yet, or forgotten").click();
  await other.page.getByText("adit up", { exact: true }).waitFor();
});

test("a session becomes a recording that plays, seeks and is found by its text", async () => {
  await window.connect();
  recording = await window.session();
  await window.run("echo needle$((40+2)) in the recording");
  await window.shows("needle42 in the recording");
  await window.run("exit");
  await window.page.getByRole("link", { name: "Watch the recording" }).click();
  await window.page.waitForURL(`**/ui/recordings/${recording}`);
  await window.shows("needle42 in the recording");
  const moment = window.page.getByRole("slider", { name: "Moment" });
  await moment.press("Home");
  await moment.press("End");
  await window.shows("exit");
});

// TERM-41
test("a link to a moment shows that moment", async () => {
  await window.open(`/recordings/${recording}#t=0`);
  const moment = window.page.getByRole("slider", { name: "Moment" });
  await moment.waitFor();
  assert.equal(await moment.getAttribute("aria-valuenow"), "0");
  await window.page.getByRole("button", { name: "Play" }).waitFor();
});

// TERM-41
test("a search in a recording jumps to the moment", async () => {
  await window.open(`/recordings/${recording}#t=0`);
  await window.page.getByRole("button", { name: "Search in this recording" }).click();
  await window.page.getByRole("textbox", { name: "Text that was on the screen" }).fill("needle42");
  await window.page.keyboard.press("Enter");
  await window.page
    .getByRole("complementary")
    .getByRole("button", { name: /needle42/ })
    .first()
    .click();
  await window.shows("needle42");
});

// TERM-42
test("a recording is verified, and the badge says what was looked at", async () => {
  await window.open(`/recordings/${recording}`);
  await window.page.getByRole("button", { name: "Verify" }).click();
  await window.page.getByText(/Verified: \d+ chunks?, .*signed, as the audit log has it/).waitFor();
});

test("a recording is downloaded as asciicast", async () => {
  const download = window.page.waitForEvent("download");
  await window.page.getByRole("link", { name: "Download" }).click();
  const file = await (await download).createReadStream();
  let text = "";
  for await (const chunk of file) text += chunk;
  assert.equal(JSON.parse(text.split("\n")[0]).version, 2);
});

// BEY-2
test("the log is filtered by address, tells one event whole, and is verified", async () => {
  await window.open("/audit");
  await window.page.getByRole("table", { name: "Audit log" }).getByRole("row").nth(1).click();
  await window.page
    .getByRole("dialog")
    .getByRole("button", { name: /Raw event/ })
    .click();
  await window.page.getByRole("dialog").getByText('"hash"').waitFor();
  await window.page.keyboard.press("Escape");
  await window.page.getByRole("button", { name: "Verify now" }).click();
  await window.page.getByRole("button", { name: "Verify now" }).waitFor();
  const { sentence } = await adit.api("GET", "/api/v1/audit/verify");
  await window.page.getByText(sentence.slice(0, 12)).first().waitFor();
  await window.page.getByRole("button", { name: "Refused" }).click();
  await window.page.waitForURL("**/ui/audit?outcome=denied");
});

test("a person is added, given a role and a link, and loses the role again", async () => {
  await window.open("/access");
  await window.page.getByRole("button", { name: "Add a person" }).click();
  await window.page.getByLabel("Name").fill("bob");
  await window.page.getByRole("button", { name: "Add bob" }).click();
  const sheet = window.page.getByRole("dialog", { name: "bob" });
  await sheet.getByRole("button", { name: "Make a sign-in link" }).click();
  const link = await sheet.locator("code").first().textContent();
  assert.match(link, /\/ui\/sign-in#code=/);
  await sheet.getByRole("button", { name: "Give a role" }).click();
  await window.page.getByLabel("Role", { exact: true }).selectOption("viewer");
  await window.page.getByLabel(adit.machine).check();
  await window.page.getByRole("button", { name: "Give viewer to bob" }).click();
  await window.open("/access/grants");
  await window.page.getByRole("button", { name: "Take away viewer from bob" }).click();
  await window.page.getByRole("dialog").getByRole("button", { name: "Take viewer away from bob" }).click();
  await window.page.getByRole("button", { name: "Take away viewer from bob" }).waitFor({ state: "detached" });
});

test("a part that the caller may not use is not there", async () => {
  const other = await browser.window(adit);
  await other.signIn((await adit.person("vic", "viewer")).link);
  const rail = other.page.getByRole("navigation", { name: "Parts" });
  await rail.getByRole("link", { name: "Recordings" }).waitFor();
  assert.equal(await rail.getByRole("link", { name: "Audit" }).count(), 0);
  assert.equal(await other.page.getByRole("button", { name: /Connect to/ }).count(), 0);
  await rail.getByRole("link", { name: "Access" }).click();
  await other.page.getByRole("button", { name: "Ask for access" }).first().waitFor();
  assert.equal(await other.page.getByRole("link", { name: "People" }).count(), 0);
  await other.open("/audit");
  await other.page.getByText("Not for your role").waitFor();
});

test("the keyboard alone finds a machine and connects", async () => {
  await window.open("/audit");
  await window.page.getByRole("table").waitFor();
  await window.page.keyboard.press("Control+K");
  await window.page.keyboard.type(adit.machine);
  await window.page.getByRole("option", { selected: true }).getByText("Connect").waitFor();
  await window.page.keyboard.press("Enter");
  await window.live();
  await window.run("exit");
  await window.page.locator('[data-status="ended"]').first().waitFor();
});

test("a live session has a picture of its screen, and is ended from its card", async () => {
  await window.connect();
  await window.run("clear; echo picture$((1+1))");
  await window.shows("picture2");
  const other = await browser.window(adit);
  await other.signIn((await adit.person("oscar", "operator")).link);
  await other.open("/sessions");
  await other.page.locator(".card pre").filter({ hasText: "picture2" }).waitFor();
  await other.page
    .locator(".card")
    .filter({ hasText: adit.machine })
    .first()
    .getByRole("button", { name: "End" })
    .click();
  await other.page
    .getByRole("dialog")
    .getByRole("button", { name: /^End .*session/ })
    .click();
  await window.page.locator('[data-status="ended"]').first().waitFor();
});

const PAGES = () => [
  "/sign-in",
  "/machines",
  `/machines/${adit.machine}`,
  "/machines?add=machine",
  "/sessions",
  "/sessions?tab=past",
  "/recordings",
  `/recordings/${recording}`,
  "/access/people",
  "/access/grants",
  "/access/roles",
  "/access/ask",
  "/audit",
  "/settings",
  "/nowhere",
];

for (const colorScheme of ["light", "dark"]) {
  for (const width of [390, 1440]) {
    test(`axe finds no serious fault on any page, ${colorScheme}, ${width} px wide`, async () => {
      const { page } = window;
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height: 844 });
      for (const path of PAGES()) {
        await window.open(path);
        await page.getByRole("heading").first().waitFor();
        await page.waitForLoadState("load");
        await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
        assert.deepEqual(await seriousFaults(page), [], path);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${path} is ${overflow} px too wide`);
      }
      await window.connect();
      assert.deepEqual(await seriousFaults(page), [], "terminal");
    });
  }
}

// CMD-15
test("the API's page shows the document of this gateway", async () => {
  await window.page.goto(`${adit.url}/docs`);
  await window.page.getByText("/api/v1/machines", { exact: true }).first().waitFor();
});

test("the first page is small", async () => {
  const other = await browser.window(adit);
  const me = await adit.api("GET", "/api/v1/me");
  const { url } = await adit.api("POST", `/api/v1/users/${me.id}/sign-in-links`, {});
  await other.signIn(url);
  const loaded = await other.page.evaluate(() => performance.getEntriesByType("resource").map((each) => each.name));
  const files = loaded.filter((name) => /\/ui\/(assets|theme)/.test(name));
  assert.ok(files.length > 3);
  const bodies = await Promise.all(
    files.map(async (file) => gzipSync(Buffer.from(await (await fetch(file)).arrayBuffer()))),
  );
  const total = bodies.reduce((sum, body) => sum + body.length, 0);
  assert.ok(total < 150_000, `${total} bytes compressed`);
});

// BRW-38
test("scripts run from files of the console only, and no page breaks its own policy", async () => {
  const { headers } = await fetch(`${adit.url}/ui/`);
  const policy = headers.get("content-security-policy");
  assert.match(policy, /script-src 'self'(;|$)/);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.deepEqual(browser.errors, []);
  assert.deepEqual(browser.foreign, []);
});
