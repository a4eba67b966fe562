// Ethernet addresses: six bytes, printed as "02:00:5e:00:00:01".

/** Reads six two-digit hex bytes, separated by colons or by dashes; null when it is anything else. */
export function parseMac(text: string): Uint8Array | null {
  const separator = text.includes('-') ? '-' : ':';
  const parts = text.split(separator);
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-fA-F]{2}$/.test(part))) return null;
  return Uint8Array.from(parts, (part) => Number.parseInt(part, 16));
}

/** Prints six bytes in lower case with colons. Throws RangeError on any other length. */
export function formatMac(bytes: Uint8Array): string {
  if (bytes.length !== 6) throw new RangeError(`a MAC address has 6 bytes, not ${bytes.length}`);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
