// Certificates as openssl makes them: an authority, and certificates of it that are good, expired, or for another name.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificates {
  /** The authority's file. */
  readonly ca: string;
  /** By a name, valid until `days` from now; below zero it is over already. */
  make(name: string, days: number): { key: Buffer; cert: Buffer };
  remove(): void;
}

const CONFIG = `
[ca]
default_ca = lab
[lab]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
`;

export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-certificates-'));
  const openssl = (...words: string[]): void => {
    execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  };
  writeFileSync(join(folder, 'ca.conf'), CONFIG);
  writeFileSync(join(folder, 'index.txt'), '');
  writeFileSync(join(folder, 'serial'), '1000\n');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '30', '-subj', '/CN=authority');
  return {
    ca: join(folder, 'ca.pem'),
    make: (name, days) => {
      const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`];
      openssl('req', '-new', ...key, '-keyout', 'own.key', '-out', 'own.csr', ...names);
      const dates = ['-startdate', dateOf(-20), '-enddate', dateOf(days)];
      openssl(
        'ca',
        '-batch',
        '-config',
        'ca.conf',
        '-cert',
        'ca.pem',
        '-keyfile',
        'ca.key',
        ...dates,
        '-in',
        'own.csr',
        '-out',
        'own.pem',
        '-notext',
      );
      return { key: readFileSync(join(folder, 'own.key')), cert: readFileSync(join(folder, 'own.pem')) };
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}

/** YYYYMMDDHHMMSSZ, so many days and an hour from now. */
function dateOf(days: number): string {
  const date = new Date(Date.now() + days * 86_400_000 + 3_600_000);
  return `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
}
