// Signing in with a company's account, in a browser, by an issuer that the test starts.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Adit } from "./adit.mjs";
import { Browser, seriousFaults } from "./console.mjs";

/** The issuer of `tests/company`. */
class Issuer {
  static async start() {
    const script = fileURLToPath(new URL("../company/provider.mjs", import.meta.url));
    const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "ignore"] });
    const [line] = await once(child.stdout, "data");
    return Object.assign(new Issuer(), { child, url: line.toString().trim() });
  }

  async control(what, body) {
    const answer = await fetch(`${this.url}/control/${what}`, { method: "POST", body: JSON.stringify(body) });
    assert.equal(answer.status, 204);
  }

  stop() {
    this.child.kill();
  }
}

let adit;
let browser;
let issuer;

before(async () => {
  issuer = await Issuer.start();
  adit = await Adit.start(`[[sign_in.provider]]
name = "work"
title = "Example account"
kind = "oidc"
issuer = "${issuer.url}"
client_id = "adit"
scopes = ["openid", "profile", "email", "groups"]
`);
  await issuer.control("client", {
    metadata: {
      client_id: "adit",
      token_endpoint_auth_method: "none",
      redirect_uris: [`${adit.url}/auth/company/work/callback`],
    },
  });
  await issuer.control("account", {
    sub: "ann",
    preferred_username: "ann",
    email: "ann@example.org",
    email_verified: true,
  });
  browser = await Browser.start();
});

after(async () => {
  await browser?.close();
  await adit?.stop();
  issuer?.stop();
});

// CMD-42
test("a button leads to the company's sign-in and back to where one was going", async () => {
  const window = await browser.window(adit);
  await window.open("/sessions");
  await window.page.getByRole("link", { name: "Sign in with Example account" }).click();
  await window.page.waitForURL("**/ui/sessions");
  await window.page.getByRole("heading", { level: 1, name: "Sessions" }).waitFor();
  assert.ok(!window.page.url().includes("code="));
  await window.open("/settings");
  await window.page.getByText("Example account, used").waitFor();
  assert.deepEqual(await seriousFaults(window.page), []);
});

test("an account is unlinked after a question, and linked again", async () => {
  const user = await adit.api("POST", "/api/v1/users", { name: "bob" });
  await adit.api("POST", "/api/v1/grants", { principal: "user:bob", role: "viewer" });
  const { url } = await adit.api("POST", `/api/v1/users/${user.id}/sign-in-links`, {});
  await issuer.control("account", { sub: "bob-at-work", preferred_username: "bob.b" });
  await issuer.control("login", { sub: "bob-at-work" });
  const window = await browser.window(adit);
  await window.signIn(url);
  await window.open("/settings");
  await window.page.getByText("None is linked to you.").waitFor();
  await window.page.getByRole("button", { name: "Link an account of Example account" }).click();
  await window.page.getByText("bob.b").waitFor();
  await window.page.getByRole("button", { name: "Unlink bob.b" }).click();
  await window.page.getByRole("dialog").getByRole("button", { name: "Unlink bob.b" }).click();
  await window.page.getByText("None is linked to you.").waitFor();
});

test("a way back that began elsewhere says so, without a code in the address", async () => {
  const window = await browser.window(adit);
  await window.page.goto(`${adit.url}/auth/company/work/callback?state=aco_x&code=y`);
  await window.page.getByText("This sign-in took too long, or began in another browser.").waitFor();
  assert.ok(!window.page.url().includes("problem"));
});
