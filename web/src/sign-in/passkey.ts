import { ApiError, api, take } from "../api/client";
import type { SignInState } from "../api/types";

/** Whether this browser knows passkeys, and takes and gives their JSON. */
export const knowsPasskeys =
  typeof PublicKeyCredential !== "undefined" && "parseCreationOptionsFromJSON" in PublicKeyCredential;

/** Browsers give passkeys to addresses with a name only. Gives the one of this gateway, where this is none. */
export function namedAddress(): string | null {
  const { hostname, href } = location;
  if (hostname === "127.0.0.1" || hostname === "[::1]")
    return href.replace(hostname, "localhost").split("#")[0] ?? null;
  return null;
}

/** Makes a passkey of whoever is signed in. */
export async function addPasskey(name: string): Promise<void> {
  const { ceremony, options } = await take(api.POST("/api/v1/me/passkeys/begin", { body: {} }));
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(
    options as unknown as PublicKeyCredentialCreationOptionsJSON,
  );
  const credential = await shown(() => navigator.credentials.create({ publicKey }));
  await take(api.POST("/api/v1/me/passkeys", { body: { ceremony, name, credential } }));
}

/** Signs in with a passkey. */
export async function withPasskey(): Promise<SignInState> {
  const { ceremony, options } = await take(api.POST("/api/v1/sign-in/passkey/begin", { body: {} }));
  const credential = await ask(options);
  return take(api.POST("/api/v1/sign-in/passkey", { body: { ceremony, credential } }));
}

/** Shows a second factor again with a passkey. */
export async function proveWithPasskey(): Promise<void> {
  const { ceremony, options } = await take(api.POST("/api/v1/step-up/passkey/begin", { body: {} }));
  const credential = await ask(options);
  await take(api.POST("/api/v1/step-up/passkey", { body: { ceremony, credential } }));
}

function ask(options: unknown): Promise<Record<string, never>> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options as PublicKeyCredentialRequestOptionsJSON);
  return shown(() => navigator.credentials.get({ publicKey }));
}

async function shown(work: () => Promise<Credential | null>): Promise<Record<string, never>> {
  try {
    const credential = (await work()) as PublicKeyCredential | null;
    if (credential) return credential.toJSON() as unknown as Record<string, never>;
  } catch (error) {
    throw new ApiError(400, "passkey", words(error));
  }
  throw new ApiError(400, "passkey", "The browser gave no passkey. Try again.");
}

function words(error: unknown): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return "No passkey was shown in time, or it was called off. Try again.";
  if (name === "InvalidStateError") return "This device has a passkey for you already.";
  if (name === "SecurityError")
    return "The browser gives no passkey at this address. Open the console by its host name.";
  return "The browser could not use a passkey here.";
}
