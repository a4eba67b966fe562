// What is to be said of a server's certificate. Dates come first: they are the commonest trouble, and OpenSSL names only
// the first fault it meets.

import type { PeerCertificate } from 'node:tls';
import type { TlsOptions } from '../config/check.ts';

export interface Judged {
  /** Why it is refused, or null. */
  readonly problem: string | null;
  /** Why it soon will be, or null. */
  readonly warning: string | null;
}

export interface Evidence {
  readonly options: TlsOptions;
  /** OpenSSL's code, such as DEPTH_ZERO_SELF_SIGNED_CERT, or null. */
  readonly fault: string | null;
  /** The name that the certificate does not hold, or null. */
  readonly nameFault: string | null;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

const DAY_MS = 86_400_000;

const FAULTS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'certificate is self-signed and not among the trusted ones',
  SELF_SIGNED_CERT_IN_CHAIN: 'certificate comes from an authority that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'certificate comes from an authority that is not trusted, or its chain is incomplete',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'certificate comes from an authority that is not trusted',
  CERT_REVOKED: 'certificate is revoked',
};

export function judgeCertificate(certificate: Partial<PeerCertificate>, evidence: Evidence): Judged {
  const { options, fault, nameFault, nowMs } = evidence;
  const endMs = Date.parse(certificate.valid_to ?? '');
  const leftMs = endMs - nowMs;
  const warning =
    leftMs < options.warnDays * DAY_MS
      ? `certificate ${leftMs < 0 ? `expired ${formatDays(-leftMs)} ago` : `expires in ${formatDays(leftMs)}`}`
      : null;
  if (!options.verify) return { problem: null, warning };
  return { problem: problemOf(certificate, { leftMs, fault, nameFault, nowMs }), warning };
}

interface Facts extends Omit<Evidence, 'options'> {
  readonly leftMs: number;
}

function problemOf(certificate: Partial<PeerCertificate>, { leftMs, fault, nameFault, nowMs }: Facts): string | null {
  const beginMs = Date.parse(certificate.valid_from ?? '');
  if (leftMs < 0) return `certificate expired ${formatDays(-leftMs)} ago`;
  if (beginMs > nowMs) return `certificate is not valid before ${new Date(beginMs).toISOString()}`;
  if (fault !== null) return FAULTS[fault] ?? `certificate refused: ${fault.toLowerCase().replaceAll('_', ' ')}`;
  if (nameFault === null) return null;
  const names = certificate.subjectaltname?.replaceAll('DNS:', '') ?? certificate.subject?.CN ?? 'nobody';
  return `certificate is for ${String(names)}, not for ${nameFault}`;
}

/** "3 days", "1 day", "5 hours": whole ones, rounded down. */
export function formatDays(ms: number): string {
  const hours = Math.floor(ms / 3_600_000);
  const [count, unit] = hours < 24 ? [hours, 'hour'] : [Math.floor(hours / 24), 'day'];
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
