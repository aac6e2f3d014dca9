// An issuer of OpenID Connect for tests: the certified `oidc-provider`, with accounts that a test changes over `/control`.
//
// It signs in whoever the request's `login_hint` names, without a page, and agrees to everything. It prints its address.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const accounts = new Map();
let login = "ann";
let provider = null;

const server = createServer(async (request, response) => {
  try {
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname.startsWith("/control/")) await control(pathname.slice(9), await bodyOf(request), response);
    else if (provider === null) response.writeHead(503).end();
    else if (pathname.startsWith("/interaction/")) await interact(request, response);
    else provider.callback()(request, response);
  } catch (error) {
    response.writeHead(500).end(String(error?.stack ?? error));
  }
});

/** Changes what the issuer knows: its client, an account, who is at the keyboard. */
async function control(what, body, response) {
  if (what === "client") provider = make(body);
  else if (what === "account") accounts.set(body.sub, body);
  else if (what === "forget") accounts.delete(body.sub);
  else if (what === "login") login = body.sub;
  else return response.writeHead(404).end();
  response.writeHead(204).end();
}

async function bodyOf(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return pieces.length ? JSON.parse(Buffer.concat(pieces)) : {};
}

async function interact(request, response) {
  const { params, prompt, grantId, session } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    const result = { login: { accountId: login, remember: true } };
    return provider.interactionFinished(request, response, result);
  }
  const known = grantId ? await provider.Grant.find(grantId) : null;
  const grant = known ?? new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

function make(client) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const made = new Provider(issuer(), {
    clients: [
      {
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        ...client.metadata,
      },
    ],
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", kid: "first" }] },
    cookies: { keys: ["a key for tests"] },
    claims: {
      openid: ["sub"],
      profile: ["name", "preferred_username"],
      email: ["email", "email_verified"],
      groups: ["groups"],
    },
    conformIdTokenClaims: client.conform ?? true,
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: confirm },
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true },
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 3600, IdToken: 60, Interaction: 60, RefreshToken: 3600, Session: 3600 },
    // The gateway of a test is on this host, where the issuer's guard lets no request go.
    fetch: (url, { dispatcher: _, ...options }) => fetch(url, options),
    findAccount: (_, sub) => {
      const account = accounts.get(sub);
      return account && { accountId: sub, claims: async () => account };
    },
  });
  made.on("server_error", (_, error) => console.error(error));
  return made;
}

/** Signs out of the issuer without asking. */
function confirm(context, form) {
  context.body = form.replace("</form>", '<input type="hidden" name="logout" value="yes"/></form>');
}

function issuer() {
  return `http://127.0.0.1:${server.address().port}`;
}

server.listen(0, "127.0.0.1", () => console.log(issuer()));
