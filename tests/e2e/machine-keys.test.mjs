// What admits machines, in the console: enrolment tokens, keys, certificates, the authority.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Adit, Agent } from "./adit.mjs";
import { Browser, seriousFaults } from "./console.mjs";

const GONE = /Late to answer|Offline/; // a machine that is not connected, before and after a while

let adit;
let browser;
let window;
let agents = [];

before(async () => {
  adit = await Adit.start();
  browser = await Browser.start();
  window = await browser.window(adit);
  await window.signIn();
});

after(async () => {
  await browser?.close();
  await adit?.stop();
});

afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.stop()));
  agents = [];
});

async function joins(command, ...more) {
  const agent = await Agent.join(command, ...more);
  agents.push(agent);
  return agent;
}

/** Joins a machine under a label and waits for it in its sheet, which is given. */
async function machine(label, ...more) {
  const { command } = await adit.api("POST", "/api/v1/enrolment-tokens", { label });
  await joins(command, ...more);
  await window.open(`/machines/${label}`);
  const sheet = window.page.getByRole("dialog", { name: label });
  await sheet.getByText("Online").waitFor();
  return sheet;
}

/** Makes a token in the console; gives the dialog that shows it once. */
async function token({ uses, label, tags }) {
  const { page } = window;
  await window.open("/access/enrolment?add=token");
  await page.getByLabel("Lets in").fill(String(uses));
  await page.getByRole("textbox", { name: "Label" }).fill(label);
  await page.getByLabel("Tags").fill(tags);
  await page.getByRole("button", { name: `Make a token for ${uses} machines` }).click();
  const dialog = page.getByRole("dialog", { name: "Enrolment token" });
  await dialog.getByText("Nobody has joined yet.").waitFor();
  return dialog;
}

// BEY-2
test("a token made in the console lets a real agent in, and nobody once it is revoked", async () => {
  const { page } = window;
  const dialog = await token({ uses: 3, label: "web-*", tags: "env=prod role=web" });
  await dialog.getByRole("button", { name: "Copy the command" }).click();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  await joins(command);
  await dialog.getByText("1 of 3 have joined.").waitFor();
  await dialog.getByRole("button", { name: "To the machines" }).click();
  await page.getByRole("row").filter({ hasText: "web-1" }).getByText("env:prod").waitFor();
  await window.open("/access/enrolment");
  await page.getByRole("cell", { name: "2 of 3" }).waitFor();
  await page.getByRole("button", { name: /^Revoke the token aet_/ }).click();
  await page
    .getByRole("dialog")
    .getByRole("button", { name: /^Revoke aet_/ })
    .click();
  await page.getByRole("heading", { name: "No enrolment token can be used now" }).waitFor();
  await assert.rejects(joins(command), /adit agent join ended with/);
});

test("a token's secret is shown once and is in no list", async () => {
  const { page } = window;
  const dialog = await token({ uses: 2, label: "db-*", tags: "" });
  const secret = (await dialog.locator("code").last().textContent()).trim();
  assert.match(secret, /^aet_/);
  await page.reload();
  await page.getByRole("dialog", { name: "Make an enrolment token" }).waitFor();
  await window.open("/access/enrolment");
  await page.getByRole("cell", { name: "db-*" }).waitFor();
  assert.ok(!(await page.content()).includes(secret));
});

test("a token that replaces is for one machine that is named", async () => {
  const { page } = window;
  await window.open(`/access/enrolment?add=token&label=${adit.machine}&replace=yes`);
  assert.ok(await page.getByLabel("Lets in").isDisabled());
  await page.getByRole("textbox", { name: "Label" }).fill("web-*");
  assert.ok(await page.getByRole("checkbox").isDisabled());
  await page.getByLabel("Tags").fill("prod");
  await page.getByRole("alert").getByText("key=value").waitFor();
  assert.ok(await page.getByRole("button", { name: "Make a token for" }).isDisabled());
});

// AGT-02
test("a certificate revoked in the console ends its machine's connection", async () => {
  const { page } = window;
  const sheet = await machine("cert-1");
  await sheet.getByRole("region", { name: "What admits it" }).getByRole("link").click();
  await page.waitForURL("**/ui/access/certificates/*-*");
  const certificate = page.getByRole("dialog", { name: "agent:cert-1" });
  await certificate.getByText("Valid").waitFor();
  await certificate.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("button", { name: "Revoke the certificate of cert-1" }).click();
  await certificate.getByText("Revoked").first().waitFor();
  assert.equal(await certificate.getByRole("button", { name: "Revoke" }).count(), 0);
  await window.open("/machines/cert-1");
  await page.getByRole("dialog", { name: "cert-1" }).getByText(GONE).waitFor();
  await window.open("/access/certificates?state=ended");
  await page.getByRole("row").filter({ hasText: "cert-1" }).getByText("Revoked").waitFor();
});

// DESK-1
test("a key rotated from the machine's sheet gives way to the new one, and the machine stays", async () => {
  const sheet = await machine("key-1", "--through-proxy");
  const keys = sheet.getByRole("region", { name: "What admits it" }).getByRole("listitem").filter({ hasText: "Key" });
  const before = await keys.locator("code").textContent();
  await sheet.getByRole("button", { name: "Rotate now" }).click();
  await window.page.getByRole("button", { name: "Rotate key-1 now" }).click();
  await keys.filter({ hasNotText: before }).waitFor();
  await keys.filter({ hasText: before }).waitFor({ state: "detached" });
  await sheet.getByText("Online").waitFor();
});

test("a rotation without haste says what becomes of the old key", async () => {
  const sheet = await machine("key-2", "--through-proxy");
  await sheet.getByRole("button", { name: "Rotate", exact: true }).click();
  await sheet.getByText("key-2 changes its key.").waitFor();
});

test("keys revoked from the machine's sheet end its connection", async () => {
  const sheet = await machine("key-3", "--through-proxy");
  await sheet.getByRole("button", { name: "Revoke the key" }).click();
  await window.page.getByRole("button", { name: "Revoke the keys of key-3" }).click();
  await sheet.getByText(GONE).waitFor();
  await sheet.getByRole("link", { name: "Replace it" }).click();
  await window.page.waitForURL("**/ui/access/enrolment?add=token&label=key-3&replace=yes");
});

// TIX-4
test("a new issuing authority is made in the console and drops nobody", async () => {
  const { page } = window;
  await machine("ca-1");
  await window.open("/access/certificates/authority");
  const sheet = page.getByRole("dialog", { name: "The authority" });
  const signs = sheet.getByRole("listitem").filter({ hasText: "Signs now" }).locator("strong");
  const before = await signs.textContent();
  await sheet.getByRole("button", { name: "Rotate the authority" }).click();
  await page.getByRole("button", { name: "Rotate the authority" }).click();
  await sheet.getByRole("listitem").filter({ hasText: "Signs now" }).filter({ hasNotText: before }).waitFor();
  await window.open("/machines/ca-1");
  await page.getByRole("dialog", { name: "ca-1" }).getByText("Online").waitFor();
});

// TIX-4
test("a certificate that ends soon is warned of before the list", async () => {
  const { page } = window;
  await page.route(/\/api\/v1\/certificates\?.*state=expiring/, async (route) => {
    const answer = await route.fetch({ url: route.request().url().replace("state=expiring", "state=counts") });
    const [one] = (await answer.json()).items;
    await route.fulfill({ json: { items: [{ ...one, status: "expiring" }] } });
  });
  await window.open("/access/certificates");
  await page.getByText("1 certificate ends soon.").waitFor();
  await page.getByRole("button", { name: /Ends soon/ }).click();
  await page.getByRole("row").getByText("Ends soon").waitFor();
  await page.unrouteAll({ behavior: "wait" });
});

test("a certificate is got where its key is: the console gives the command", async () => {
  const { page } = window;
  await window.open("/access/certificates");
  await page.getByRole("button", { name: "Get a certificate" }).click();
  await page.getByLabel("Its name").fill("report");
  await page.getByText("adit cert issue agent:report --out DIR").waitFor();
});

test("the keyboard alone opens a certificate and comes back", async () => {
  const { page } = window;
  await window.open("/access/certificates");
  await page.getByRole("table", { name: "Certificates" }).getByRole("row").nth(1).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByText("Serial number").waitFor();
  await page.keyboard.press("Escape");
  await page.waitForURL("**/ui/access/certificates");
});

// TIX-71
test("the gateway's own certificates are shown and renewed", async () => {
  const { page } = window;
  await window.open("/access/certificates");
  await page.getByRole("link", { name: "The gateway’s own" }).click();
  const sheet = page.getByRole("dialog", { name: "The gateway’s own certificates" });
  await sheet.getByRole("heading", { name: "What machines connect to" }).waitFor();
  await sheet.getByText("from the gateway’s own authority, renewed by itself").waitFor();
  const serial = async () => (await adit.api("GET", "/api/v1/gateway-certificates")).items[0].serial;
  const before = await serial();
  await sheet.getByTitle(before).waitFor();
  await sheet.getByRole("button", { name: "Renew it now" }).click();
  await page.getByRole("button", { name: "Renew it" }).click();
  await sheet.getByTitle(before).waitFor({ state: "detached" });
  await sheet.getByTitle(await serial()).waitFor();
});

test("who may not manage machines finds neither tokens nor certificates nor keys", async () => {
  const other = await browser.window(adit);
  await other.signIn((await adit.person("oscar", "operator")).link);
  await other.open("/access");
  await other.page.getByRole("button", { name: "Requests" }).waitFor();
  for (const name of ["Certificates", "Enrolment"]) {
    assert.equal(await other.page.getByRole("button", { name, exact: true }).count(), 0);
  }
  await other.open(`/machines/${adit.machine}`);
  await other.page.getByRole("dialog").getByText("Host name").waitFor();
  assert.equal(await other.page.getByText("What admits it").count(), 0);
  await other.page.context().close();
});

test("a list that the gateway does not answer says so, and comes when it does", async () => {
  const { page } = window;
  for (const [path, label] of [
    ["certificates", "Certificates"],
    ["enrolment-tokens", "Enrolment tokens"],
  ]) {
    await page.route(new RegExp(`/api/v1/${path}\\?`), (route) => route.abort());
    await window.open(path === "certificates" ? "/access/certificates" : "/access/enrolment");
    await page.getByRole("heading", { name: "No answer from the gateway" }).waitFor();
    await page.unrouteAll({ behavior: "wait" });
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("table", { name: label }).waitFor();
  }
});

test("the pages of keys and certificates have no serious fault, light and dark, wide and narrow", async () => {
  const { page } = window;
  const { items } = await adit.api("GET", "/api/v1/certificates?state=counts");
  const paths = [
    "/access/certificates",
    "/access/certificates?state=expiring",
    "/access/certificates?state=ended",
    `/access/certificates/${items[0].id}`,
    "/access/certificates/authority",
    "/access/certificates/gateway",
    "/access/certificates?add=certificate",
    "/access/enrolment",
    "/access/enrolment?add=token",
    `/machines/${adit.machine}`,
  ];
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [390, 1440]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height: 844 });
      for (const path of paths) {
        await window.open(path);
        await page.getByRole("heading").first().waitFor();
        await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
        assert.deepEqual(await seriousFaults(page), [], `${path} ${colorScheme} ${width}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${path} is ${overflow} px too wide`);
      }
    }
  }
  assert.deepEqual(browser.errors, []);
  assert.deepEqual(browser.foreign, []);
});
