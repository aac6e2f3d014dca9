/** The way to the gateway: HTTP/1.1 over mutual TLS. */

import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { Agent, buildConnector } from "undici";

/** A machine's certificate as PEM files. */
export interface PemCertConfig {
  /** The certificate and what signed it. */
  readonly certPath: string;
  readonly keyPath: string;
  /** The authority that signed the gateway's certificate. Nobody else is trusted. */
  readonly caPath: string;
}

/** A machine's certificate as a P12 bundle. */
export interface P12CertConfig {
  readonly p12Path: string;
  readonly p12Password: string;
  /** An authority to trust beside those in the bundle. Nobody else is trusted. */
  readonly caPath?: string;
}

/** A machine's certificate. */
export type TicketCertConfig = PemCertConfig | P12CertConfig;

/** What {@link createTicketDispatcher} needs. */
export interface CreateTicketDispatcherOptions {
  readonly certs: TicketCertConfig;
  /** Whether the gateway must prove who it is. Default: true. False lets anybody stand in its place. */
  readonly rejectUnauthorized?: boolean;
}

/** How many connections are open at once; more calls wait for one. Chosen: managers make one call at a time. */
const MAX_CONNECTIONS = 4;

/** The longest answer, in bytes. Chosen: an inbox holds at most 1,000 tickets of less than 1 KiB each. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/**
 * Makes the dispatcher for a {@link TicketClient}. Close it when it is not needed any more.
 *
 * The files are read anew for each connection, so a certificate that was renewed in place counts without a restart.
 *
 * @throws When a file cannot be read, or is no certificate, or the password is wrong.
 */
export function createTicketDispatcher(options: CreateTicketDispatcherOptions): Agent {
  const { certs, rejectUnauthorized = true } = options;
  createSecureContext(readIdentity(certs));
  const connect: buildConnector.connector = (target, callback) => {
    let connector: buildConnector.connector;
    try {
      connector = buildConnector({ ...readIdentity(certs), rejectUnauthorized, allowH2: false });
    } catch (error) {
      callback(error as Error, null);
      return;
    }
    connector(target, callback);
  };
  return new Agent({ connect, connections: MAX_CONNECTIONS, maxResponseSize: MAX_ANSWER_BYTES });
}

function readIdentity(certs: TicketCertConfig): SecureContextOptions {
  if ("p12Path" in certs) {
    // An empty list keeps the system's authorities out; those of the bundle are added to it.
    const ca = certs.caPath === undefined ? [] : readFileSync(certs.caPath);
    return { pfx: readFileSync(certs.p12Path), passphrase: certs.p12Password, ca };
  }
  return { cert: readFileSync(certs.certPath), key: readFileSync(certs.keyPath), ca: readFileSync(certs.caPath) };
}
