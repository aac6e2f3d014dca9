// A program of somebody else's asks a person in the console, by a library that is certified: oauth4webapi.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Adit } from "./adit.mjs";
import { Browser, seriousFaults } from "./console.mjs";

const web = createRequire(new URL("../../web/package.json", import.meta.url));
const oauth = await import(pathToFileURL(web.resolve("oauth4webapi")).href);
const insecure = { [oauth.allowInsecureRequests]: true }; // plain HTTP on this machine itself

let adit;
let browser;
let window;
let server;

before(async () => {
  adit = await Adit.start();
  browser = await Browser.start();
  window = await browser.window(adit);
  await window.signIn();
  const issuer = new URL(adit.url);
  const found = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: "oauth2" });
  server = await oauth.processDiscoveryResponse(issuer, found);
});

after(async () => {
  await browser?.close();
  await adit?.stop();
});

/** A program that listens on this machine for the browser to come back. */
async function program() {
  const listener = createServer((_, response) => response.end("you may close this window")).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const back = `http://127.0.0.1:${listener.address().port}/cb`;
  return { listener, back, next: async () => new URL((await once(listener, "request"))[0].url, back) };
}

async function add(name, extra) {
  const body = { name, scopes: ["machine:view", "terminal:spawn"], ...extra };
  const added = await adit.api("POST", "/api/v1/services", body);
  return { client_id: added.clientId, secret: added.clientSecret };
}

async function picture(name) {
  if (!process.env.PICTURES) return;
  for (const [width, height] of [
    [1440, 900],
    [390, 844],
  ]) {
    await window.page.setViewportSize({ width, height });
    await window.page.screenshot({ path: `${process.env.PICTURES}/${name}-${width}.png` });
  }
  await window.page.setViewportSize({ width: 1200, height: 800 });
}

// CMD-10
test("a program that a person lets act for them gets tokens, renews them, and the API believes them", async () => {
  const client = await add("desk", { public: true, redirectUris: ["http://127.0.0.1/cb"] });
  const { listener, back, next } = await program();
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const address = new URL(server.authorization_endpoint);
  const fields = {
    response_type: "code",
    client_id: client.client_id,
    redirect_uri: back,
    scope: "machine:view",
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(fields)) address.searchParams.set(name, value);
  await window.page.goto(address.href);
  await window.page.getByRole("heading", { name: "Let desk act for you?" }).waitFor();
  await window.page.getByText("See machines").waitFor();
  assert.deepEqual(await seriousFaults(window.page), []);
  await picture("authorize");
  const came = next();
  await window.page.getByRole("button", { name: "Allow desk" }).click();
  // Checks state and iss (RFC 9207).
  const answer = oauth.validateAuthResponse(server, client, await came, state);
  const none = oauth.None();
  const got = await oauth.authorizationCodeGrantRequest(server, client, none, answer, back, verifier, insecure);
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, got);
  assert.equal(tokens.scope, "machine:view");
  const request = new Request(`${adit.url}/api/v1/me`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  // Checks the signature with the published keys, and the claims as RFC 9068 has them.
  const claims = await oauth.validateJwtAccessToken(server, request, `${adit.url}/api/v1`, insecure);
  assert.equal(claims.client_id, client.client_id);
  const me = await (await fetch(request)).json();
  assert.equal(me.name, "admin");
  const again = await oauth.refreshTokenGrantRequest(server, client, none, tokens.refresh_token, insecure);
  const renewed = await oauth.processRefreshTokenResponse(server, client, again);
  assert.notEqual(renewed.refresh_token, tokens.refresh_token);
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(server, client, none, renewed.refresh_token, insecure),
  );
  const after = await fetch(`${adit.url}/api/v1/me`, { headers: { authorization: `Bearer ${renewed.access_token}` } });
  assert.equal(after.status, 401);
  listener.close();
});

// CMD-10
test("a service gets a token for itself, and asks whether it counts", async () => {
  const client = await add("ci");
  const auth = oauth.ClientSecretBasic(client.secret);
  const got = await oauth.clientCredentialsGrantRequest(server, client, auth, { scope: "machine:view" }, insecure);
  const token = await oauth.processClientCredentialsResponse(server, client, got);
  const asked = await oauth.introspectionRequest(server, client, auth, token.access_token, insecure);
  const told = await oauth.processIntrospectionResponse(server, client, asked);
  assert.equal(told.active, true);
  assert.equal(told.username, "service:ci");
});

// CMD-10
test("a device waits for a person who types its code", async () => {
  const client = { client_id: "adit-cli" };
  const none = oauth.None();
  const began = await oauth.deviceAuthorizationRequest(server, client, none, {}, insecure);
  const device = await oauth.processDeviceAuthorizationResponse(server, client, began);
  await window.page.goto(device.verification_uri);
  await picture("device");
  await window.page.getByLabel("The code that the device shows").fill("BCDF-GHJK");
  await window.page.getByRole("button", { name: "Go on" }).click();
  await window.page.getByText("No device waits with this code").waitFor();
  await window.page.getByLabel("The code that the device shows").fill(device.user_code.toLowerCase());
  await window.page.getByRole("button", { name: "Go on" }).click();
  await window.page.getByRole("heading", { name: "Let the command line act for you?" }).waitFor();
  assert.deepEqual(await seriousFaults(window.page), []);
  await picture("device-asked");
  await window.page.getByRole("button", { name: "Allow the command line" }).click();
  await window.page.getByRole("heading", { name: "The device is signed in" }).waitFor();
  const got = await oauth.deviceCodeGrantRequest(server, client, none, device.device_code, insecure);
  const tokens = await oauth.processDeviceCodeResponse(server, client, got);
  const me = await fetch(`${adit.url}/api/v1/me`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  assert.equal((await me.json()).name, "admin");
  await window.open("/settings");
  await window.page.getByRole("button", { name: "End the command line" }).click();
  await picture("programs");
  await window.page.getByRole("dialog").getByRole("button", { name: "End the command line" }).click();
  await window.page.getByRole("dialog").waitFor({ state: "detached" });
  await window.page.getByRole("button", { name: "End the command line" }).waitFor({ state: "detached" });
  const ended = await fetch(`${adit.url}/api/v1/me`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  assert.equal(ended.status, 401);
});

test("who is signed out signs in first, and comes back to the question", async () => {
  const client = await add("portal", { redirectUris: ["https://portal.example/cb"] });
  const other = await browser.window(adit);
  const wish = new URLSearchParams({
    response_type: "code",
    client_id: client.client_id,
    redirect_uri: "https://portal.example/cb",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    code_challenge_method: "S256",
  });
  await other.page.goto(`${adit.url}/auth/authorize?${wish}`);
  await other.page.getByRole("heading", { name: "Sign in to Adit" }).waitFor();
  const back = new URL(other.page.url()).searchParams.get("back");
  assert.equal(back, `/authorize?${wish}`);
});

test("a service is added in the console, and its secret is shown once", async () => {
  await window.open("/access/services");
  await window.page.getByRole("button", { name: "Add a service" }).click();
  await window.page.getByLabel("Name").fill("monitor");
  await window.page.getByLabel("machine:view").check();
  await picture("add-service");
  await window.page.getByRole("button", { name: "Add monitor" }).click();
  await window.page.getByText(/^acs_/).waitFor();
  assert.deepEqual(await seriousFaults(window.page), []);
  await window.page.getByRole("button", { name: "Close" }).first().click();
  await picture("services");
  await window.page.getByRole("link", { name: "monitor" }).click();
  await window.page.getByRole("heading", { name: "monitor" }).waitFor();
  await picture("service");
  assert.equal(await window.page.getByText(/^acs_/).count(), 0);
  await window.page.getByRole("button", { name: "Make a new secret" }).click();
  await window.page.getByText(/^acs_/).waitFor();
  await window.page.getByRole("button", { name: "Remove monitor" }).click();
  await window.page.getByRole("button", { name: "Remove monitor" }).last().click();
  await window.page.getByRole("link", { name: "monitor" }).waitFor({ state: "detached" });
});
