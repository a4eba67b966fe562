// What certificates are held against: the system's authorities, or those of a file. Making such a context reads some
// hundred certificates, so each is made once, and again only when its file changes.

import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';

const contexts = new Map<string, { stamp: string; context: SecureContext }>();

/** Throws in words when the file cannot be read. */
export function trustedBy(file: string | null): SecureContext {
  const key = file ?? '';
  const stamp = stampOf(file);
  const known = contexts.get(key);
  if (known?.stamp === stamp) return known.context;
  const context = createSecureContext(file === null ? {} : { ca: readFileSync(file) });
  contexts.set(key, { stamp, context });
  return context;
}

function stampOf(file: string | null): string {
  if (file === null) return '';
  try {
    const { mtimeMs, size, ino } = statSync(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch (error) {
    throw new Error(`the file of authorities cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
