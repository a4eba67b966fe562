// The shell text that makes a host a real server of one service: a head with what the service asks for, made here, and
// the same body for all (setup.sh). What `server-setup` prints is what it runs, so the two cannot differ.

import { readFileSync } from 'node:fs';
import type { ServiceConfig, TunnelConfig } from '../config/config.ts';
import { formatTunnelSource } from '../config/tunnel.ts';

/** `auto`: the kernel's tunnel device where there is one, else our program at tc. */
export type Decap = 'auto' | 'kernel' | 'xdp' | 'tc';

const BODY = new URL('setup.sh', import.meta.url);

export function makeSetupScript(service: ServiceConfig, decap: Decap): string {
  const { name, method, tunnel } = service;
  const how = tunnel === null ? method : `${method}, ${tunnel.type} from ${formatTunnelSource(tunnel.source)}`;
  return `#!/bin/sh
# What a real server of service "${name}" needs (${how}). Made by fairlead server-setup; run it as root.
#
#   sh THIS         sets the server up; run again, it changes nothing
#   sh THIS undo    puts everything back as it was
#
# All of it lasts until the next boot: run it at each boot, when the network is up.
set -eu

${formatVariables(variablesOf(service, decap))}

${readFileSync(BODY, 'utf8')}`;
}

/** The same for a service that need not be configured any more: undo asks only what was noted on the server. */
export function makeUndoScript(service: string): string {
  return `set -eu\n${formatVariables({ service })}\n${readFileSync(BODY, 'utf8')}`;
}

function variablesOf(service: ServiceConfig, decap: Decap): Record<string, string> {
  const { name, tunnel } = service;
  const vips = [...new Set(service.listens.map(({ vip }) => vip.text))];
  const family = service.listens[0]?.vip.family ?? 4;
  return {
    service: name,
    family: String(family),
    vips: vips.join(' '),
    bits: family === 4 ? '32' : '128',
    nodad: family === 4 ? '' : 'nodad',
    servers: [...new Set(service.servers.map(({ address }) => address.text))].join(' '),
    decap: tunnel === null ? 'none' : decap,
    tunnel: tunnel?.type ?? '',
    decap_words: tunnel === null ? '' : decapWords(tunnel, vips),
    ...kernelWords(tunnel, family),
  };
}

/** Values hold no quotes: names and addresses were checked when they were read. */
function formatVariables(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([key, value]) => `${key}='${value}'`)
    .join('\n');
}

function decapWords({ source, key, port }: TunnelConfig, vips: readonly string[]): string {
  return [
    `--from ${formatTunnelSource(source)}`,
    ...vips.map((vip) => `--vip ${vip}`),
    ...(key === null ? [] : [`--key ${key}`]),
    ...(port === null ? [] : [`--port ${port}`]),
  ].join(' ');
}

/** The kernel's device that unwraps this tunnel. It knows one peer: a prefix of sources is not for it. */
function kernelWords(tunnel: TunnelConfig | null, inner: 4 | 6): Record<string, string> {
  const nothing = { kernel_type: '', kernel_words: '', kernel_modules: '', device: '', fou: '' };
  if (tunnel === null || tunnel.source.length !== tunnel.source.address.bytes.length * 8) return nothing;
  const { type, source, key, port } = tunnel;
  const outer = source.address.family;
  const device = type === 'gre' ? greDevice(outer) : ipDevice(outer, inner);
  const words = `remote ${source.address.text}${device.more}${key === null ? '' : ` key ${key}`}`;
  return {
    kernel_type: device.type,
    kernel_words: words,
    kernel_modules: `${device.module}${type === 'gue' ? ' fou fou6' : ''}`,
    device: tunnelDevice(`${device.type} ${words}`),
    fou: port === null ? '' : `${outer === 6 ? 'inet6' : 'inet'} port ${port}`,
  };
}

interface KernelDevice {
  readonly type: string;
  readonly more: string;
  readonly module: string;
}

function greDevice(outer: 4 | 6): KernelDevice {
  return outer === 4 ? { type: 'gre', more: '', module: 'ip_gre' } : { type: 'ip6gre', more: '', module: 'ip6_gre' };
}

function ipDevice(outer: 4 | 6, inner: 4 | 6): KernelDevice {
  if (outer === 6) return { type: 'ip6tnl', more: ' mode any', module: 'ip6_tunnel' };
  return inner === 4
    ? { type: 'ipip', more: ' mode ipip', module: 'ipip' }
    : { type: 'sit', more: ' mode ip6ip', module: 'sit' };
}

/**
 * The kernel has one device for two ends and a key, whatever services use it, so its name comes of what it is. Names have
 * 15 characters: FNV-1a in hexadecimal.
 */
export function tunnelDevice(words: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(words)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return `fl-${hash.toString(16).padStart(8, '0')}`;
}
