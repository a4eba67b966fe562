// The conversation of a check over TCP, plain or in TLS: connect, perhaps shake hands, then say and hear.

import { connect as connectTcp, Socket, type SocketConstructorOpts } from 'node:net';
import { checkServerIdentity, connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';
import type { TlsOptions } from '../config/check.ts';
import type { Attempt } from './attempt.ts';
import { judgeCertificate } from './certificate.ts';
import type { ProbeTarget } from './probe.ts';
import { trustedBy } from './trust.ts';

export interface Conversation {
  /** The connection stands; `write` sends. `warning` is what the certificate gives cause to. */
  onOpen(write: (text: string) => void, warning: string | null): void;
  /** Octets as Latin-1 text, so that every octet is one character. */
  onText?(text: string): void;
  /** The server has ended the connection. */
  onEnd?(): void;
}

export interface StreamOptions {
  readonly tls: TlsOptions | null;
  /** The name to ask for and to hold the certificate against, when `tls.sni` names none. */
  readonly host?: string | null;
}

/** Begins it; returns how to end it. The answer to a port that is not there is given to `attempt` already. */
export function converse(attempt: Attempt, { tls, host = null }: StreamOptions, talk: Conversation): () => void {
  const name = tls?.sni ?? nameIn(host);
  let stage = 'while connecting';
  let socket: Socket;
  let carrier: Socket;
  try {
    // A file of authorities that cannot be read, a socket that cannot be had: this host's trouble.
    const secureContext = tls === null ? null : trustedBy(tls.ca);
    carrier = connectBy(attempt.target);
    socket =
      secureContext === null
        ? carrier
        : connectTls({
            socket: carrier,
            secureContext,
            // Judged below, where there are words for it.
            rejectUnauthorized: false,
            checkServerIdentity: () => undefined,
            ...(name === null ? {} : { servername: name }),
          });
  } catch (error) {
    attempt.untried((error as Error).message);
    return () => undefined;
  }
  const open = (warning: string | null): void => {
    stage = 'in the middle of the answer';
    talk.onOpen((text) => void socket.write(text, 'latin1'), warning);
  };
  carrier.once('connect', () => {
    attempt.heard();
    if (tls === null) {
      open(null);
      return;
    }
    stage = 'during the TLS handshake';
    attempt.waitingFor('connected, but no TLS handshake');
  });
  if (tls !== null) {
    socket.once('secureConnect', () => {
      const secure = socket as TLSSocket;
      const certificate = secure.getPeerCertificate();
      // It is an empty object where there is none.
      const { problem, warning } = judgeCertificate(certificate, {
        options: tls,
        fault: secure.authorizationError === null ? null : String(secure.authorizationError),
        nameFault: name === null ? null : nameFaultOf(name, certificate),
        nowMs: Date.now(),
      });
      if (problem === null) open(warning);
      else attempt.fail(problem);
    });
  }
  socket.on('data', (chunk: Buffer) => talk.onText?.(chunk.toString('latin1')));
  socket.once('end', () => {
    if (talk.onEnd === undefined) attempt.fail('connection closed by the server');
    else talk.onEnd();
  });
  // Stays on after the result: an error on a socket that nobody listens to would end the process.
  const explain = (error: NodeJS.ErrnoException): void => attempt.explain(error, stage);
  socket.on('error', explain);
  if (socket !== carrier) carrier.on('error', explain);
  return () => {
    socket.destroy();
    carrier.destroy();
  };
}

function connectBy({ address, port, socket }: ProbeTarget): Socket {
  if (socket === undefined) return connectTcp({ host: address, port: port ?? 0 });
  return new Socket({ fd: socket(), manualStart: true } as SocketConstructorOpts).connect(port ?? 0, address);
}

/** A name to ask for; an address is none (RFC 6066, section 3). */
function nameIn(host: string | null): string | null {
  const bare = host?.replace(/:\d+$/, '') ?? '';
  return /^[0-9A-Za-z._-]+$/.test(bare) && !/^[\d.]+$/.test(bare) ? bare : null;
}

function nameFaultOf(name: string, certificate: PeerCertificate): string | null {
  return checkServerIdentity(name, certificate) === undefined ? null : name;
}
