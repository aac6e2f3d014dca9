// Signing in as people do: with a password, a second factor, a passkey, an invitation.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { Adit } from "./adit.mjs";
import { Browser, seriousFaults } from "./console.mjs";

const PASSWORD = "correct horse battery staple";

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

afterEach(() => browser.closeWindows());

/** The same gateway under its name: browsers give passkeys to names only. */
function named() {
  return Object.assign(Object.create(Object.getPrototypeOf(adit)), adit, {
    url: adit.url.replace("127.0.0.1", "localhost"),
  });
}

/** Invites a person, who takes the invitation up with a password. Gives the window. */
async function invited(name, gateway = adit) {
  const user = await adit.api("POST", "/api/v1/users", { name });
  await adit.api("POST", "/api/v1/grants", { principal: `user:${name}`, role: "operator", machines: [adit.machine] });
  const { url } = await adit.api("POST", `/api/v1/users/${user.id}/invitations`, {});
  const window = await browser.window(gateway);
  await window.page.goto(url.replace(adit.url, gateway.url));
  await window.page.getByRole("heading", { name: "Welcome to Adit" }).waitFor();
  assert.ok(!window.page.url().includes("code"), "the code is out of the address");
  return { window, user };
}

async function withPassword(name, gateway = adit) {
  const { window, user } = await invited(name, gateway);
  await window.page.getByLabel("Password").fill(PASSWORD);
  await window.page.getByRole("button", { name: "Set the password" }).click();
  await window.page.getByRole("heading", { level: 1, name: "Machines" }).waitFor();
  return { window, user };
}

async function signOut(window) {
  await window.open("/settings");
  await window.page.getByRole("button", { name: "Sign out" }).click();
  await window.page.getByRole("heading", { name: "Sign in to Adit" }).waitFor();
}

async function giveNameAndPassword(window, name) {
  await window.page.getByLabel("Name").fill(name);
  await window.page.getByLabel("Password").fill(PASSWORD);
  await window.page.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** The code of an authenticator (RFC 6238), `steps` time steps from now. */
function codeOf(secret, steps = 0) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((c) => alphabet.indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = createHmac("sha1", key).update(counter).digest();
  const number = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fff_ffff;
  return String(number % 1_000_000).padStart(6, "0");
}

/** Turns an authenticator on, with the code of the step before; gives its secret and the recovery codes. */
async function addAuthenticator(window) {
  const { page } = window;
  await window.open("/settings");
  await page.getByRole("button", { name: "Add an authenticator" }).click();
  const dialog = page.getByRole("dialog", { name: "Add an authenticator" });
  await dialog.getByRole("img", { name: /QR code/ }).waitFor();
  const secret = (await dialog.locator("code").first().textContent()).trim();
  await dialog.getByLabel("Code", { exact: true }).fill(codeOf(secret, -1));
  await dialog.getByRole("button", { name: "Turn it on" }).click();
  const codes = page.getByRole("dialog", { name: "Recovery codes" });
  await codes.waitFor();
  const recovery = await codes.locator("li code").allTextContents();
  assert.equal(recovery.length, 10);
  await codes.getByRole("button", { name: "I have kept them" }).click();
  await page.getByText("On. 10 recovery codes are left.").waitFor();
  return { secret, recovery };
}

/** Gives a page an authenticator of its own, which always says yes. */
async function virtualKey(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const options = {
    protocol: "ctap2",
    transport: "internal",
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
    automaticPresenceSimulation: true,
  };
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", { options });
  return { devtools, authenticatorId };
}

// DESK-6
test("an invitation leads to a password, and the password and a code sign in", async () => {
  const { window } = await withPassword("ann");
  const { secret, recovery } = await addAuthenticator(window);
  await signOut(window);
  await giveNameAndPassword(window, "ann");
  await window.page.getByText("Second step for ann.").waitFor();
  await window.page.getByLabel("Code").fill("000000");
  await window.page.getByRole("button", { name: "Go on" }).click();
  await window.page.getByRole("alert").waitFor();
  await window.page.getByLabel("Code").fill(codeOf(secret));
  await window.page.getByRole("button", { name: "Go on" }).click();
  await window.page.waitForURL("**/ui/settings");
  await signOut(window);
  await giveNameAndPassword(window, "ann");
  await window.page.getByLabel("Code").fill(recovery[0]);
  await window.page.getByRole("button", { name: "Go on" }).click();
  await window.page.getByText("On. 9 recovery codes are left.").waitFor();
});

// DESK-6
test("a wrong password says nothing of the user", async () => {
  const window = await browser.window(adit);
  await window.open("/sign-in");
  const said = [];
  for (const name of ["ann", "nobody"]) {
    await window.page.getByLabel("Name").fill(name);
    await window.page.getByLabel("Password").fill("this is not the password");
    await window.page.getByRole("button", { name: "Sign in", exact: true }).click();
    await window.page.getByRole("alert").waitFor();
    said.push(await window.page.getByRole("alert").textContent());
    await window.page.reload();
  }
  assert.equal(said[0], said[1]);
});

// DESK-6
test("a passkey is added under a name, signs in without a password, and is removed", async () => {
  const gateway = named();
  const { window } = await withPassword("ben", gateway);
  const { page } = window;
  const { devtools, authenticatorId } = await virtualKey(page);
  await window.open("/settings");
  await page.getByLabel("What you call the passkey").fill("laptop");
  await page.getByRole("button", { name: "Add a passkey" }).click();
  await page.getByRole("button", { name: "Remove the passkey laptop" }).waitFor();
  const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
  assert.equal(credentials.length, 1);
  assert.equal(credentials[0].rpId, "localhost");
  assert.ok(credentials[0].isResidentCredential);
  await signOut(window);
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await page.waitForURL("**/ui/settings");
  await page.getByText("by passkey").waitFor();
  await page.getByRole("button", { name: "Remove the passkey laptop" }).click();
  await page.getByRole("button", { name: "Remove laptop" }).click();
  await page.getByRole("button", { name: "Remove the passkey laptop" }).waitFor({ state: "detached" });
  await signOut(window);
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await page.getByText("This passkey opens nothing here.").waitFor();
});

// DESK-6
test("an invitation leads to a passkey alone", async () => {
  const gateway = named();
  const { window } = await invited("cat", gateway);
  await virtualKey(window.page);
  await window.page.getByRole("button", { name: "Use a passkey instead" }).click();
  await window.page.getByRole("heading", { level: 1, name: "Machines" }).waitFor();
  await signOut(window);
  await window.page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await window.page.waitForURL("**/ui/settings");
});

// DESK-6
test("at an address of numbers the page says where passkeys are", async () => {
  const window = await browser.window(adit);
  await window.open("/sign-in");
  const link = window.page.getByRole("link", { name: /^http:\/\/localhost:\d+$/ });
  assert.equal(await link.getAttribute("href"), `${named().url}/ui/sign-in`);
});

// DESK-6
test("a session that wants a second factor asks for it and opens", async () => {
  const { window, user } = await withPassword("dan");
  const { items } = await adit.api("GET", "/api/v1/grants?limit=200");
  for (const { id, principal } of items) {
    if (principal?.id === user.id || principal?.name === "dan") await adit.api("DELETE", `/api/v1/grants/${id}`);
  }
  const conditions = { secondFactorWithinSeconds: 600 };
  await adit.api("POST", "/api/v1/grants", { principal: "user:dan", role: "operator", conditions });
  const { recovery } = await addAuthenticator(window);
  // A browser that signed in by a link has shown no second factor.
  const { url } = await adit.api("POST", `/api/v1/users/${user.id}/sign-in-links`, {});
  const other = await browser.window(adit);
  await other.signIn(url);
  await other.open("/machines");
  await other.page.getByRole("button", { name: `Connect to ${adit.machine}` }).click();
  const dialog = other.page.getByRole("dialog", { name: "Show your second factor again" });
  await dialog.getByLabel("Code").fill(recovery[1]);
  await dialog.getByRole("button", { name: "Go on" }).click();
  await other.live();
  await adit.endSessions();
});

// DESK-6
test("a person sees where they are signed in, and ends the others", async () => {
  const { window } = await withPassword("eve");
  const other = await browser.window(adit);
  await other.open("/sign-in");
  await giveNameAndPassword(other, "eve");
  await other.page.getByRole("heading", { level: 1, name: "Machines" }).waitFor();
  await window.open("/settings");
  await window.page.getByRole("button", { name: "End all others" }).click();
  await window.page.getByRole("button", { name: "End 1" }).click();
  await window.page.getByRole("button", { name: "End all others" }).waitFor({ state: "detached" });
  await other.page.reload();
  await other.page.getByRole("heading", { name: "Sign in to Adit" }).waitFor();
});

test("the doors have no serious fault, light and dark, wide and narrow", async () => {
  const { url } = await adit.api("POST", `/api/v1/users/${(await adit.api("GET", "/api/v1/me")).id}/invitations`, {});
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1440, 390]) {
      const window = await browser.window(adit, { colorScheme, viewport: { width, height: 800 } });
      for (const path of ["/sign-in", "/setup", `/welcome${new URL(url).hash}`]) {
        await window.open(path);
        await window.page.getByRole("heading", { level: 1 }).waitFor();
        assert.deepEqual(await seriousFaults(window.page), [], `${path} ${colorScheme} ${width}`);
      }
    }
  }
  assert.deepEqual(browser.errors, []);
  assert.deepEqual(browser.foreign, []);
});
