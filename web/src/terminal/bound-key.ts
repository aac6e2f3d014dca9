import { calculateThumbprint, generateKeyPair, generateProof, type KeyPair } from "dpop";

/** A key that lives as long as this page and can't leave it. Tickets are bound to it, so that a copied one opens nothing. */
interface BoundKey {
  pair: KeyPair;
  thumbprint: string;
}

let made: Promise<BoundKey | null> | null = null;

/** Gives the page's key; none where the browser offers no cryptography, as on a page without TLS. */
export function boundKey(): Promise<BoundKey | null> {
  made ??= make();
  return made;
}

async function make(): Promise<BoundKey | null> {
  if (!globalThis.crypto?.subtle) return null;
  const pair = await generateKeyPair("ES256");
  return { pair, thumbprint: await calculateThumbprint(pair.publicKey) };
}

/** Proves the key for one ticket: a DPoP proof (RFC 9449). */
export function prove(key: BoundKey, ticket: string, url: string): Promise<string> {
  return generateProof(key.pair, url, "GET", undefined, ticket);
}
