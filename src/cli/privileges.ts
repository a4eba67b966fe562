// What the kernel asks of whoever forwards packets, said before anything is half made.

import { readFileSync } from 'node:fs';
import { FairleadError } from '../base/errors.ts';

/** Bits of linux/capability.h. */
const NET_ADMIN = 12;
const NET_RAW = 13;
const SYS_ADMIN = 21;
const BPF = 39;

/** Throws in words when this process may not open packet sockets, steer the host's interfaces or load BPF programs. */
export function requirePrivileges(status: string = readFileSync('/proc/self/status', 'utf8')): void {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (bit: number): boolean => (effective & (1n << BigInt(bit))) !== 0n;
  const missing = [
    ...(has(NET_RAW) ? [] : ['CAP_NET_RAW']),
    ...(has(NET_ADMIN) ? [] : ['CAP_NET_ADMIN']),
    ...(has(BPF) || has(SYS_ADMIN) ? [] : ['CAP_BPF']),
  ];
  if (missing.length === 0) return;
  throw new FairleadError('refused', `fairlead lacks privileges here: ${missing.join(', ')}`, {
    mend: 'run it as root, or give it these capabilities (in systemd: AmbientCapabilities=)',
  });
}
