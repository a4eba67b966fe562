// The command line of the bench.

import { parseArgs } from 'node:util';

export const help = `npm run bench [-- OPTION...]

Measures the core alone, in user space and as the kernel runs it, and through labs the engines (packet, tc, xdp) beside
plain kernel forwarding, nftables DNAT, HAProxy, nginx stream, a bare XDP redirect and a bare XDP_TX, in turn within one run; and how
long a dead server still gets connections, beside HAProxy and keepalived; and what 10 million flows, 10,000 services and 10,000
servers of a service cost. Figures of one run compare with each other and with nothing else.

  --quick          3 repeats instead of 7, shorter ones; under five minutes, for deaths and scale are left out unless asked for
  --json FILE      writes rows {measure, path, flows, value, unit, against, ratio} as an array
  --only PATTERN   only measures whose name contains PATTERN: core, kernel, scale, packets, bulk, connections,
                   latency, deaths
  --through REGEX  only through paths whose name it finds: kernel|xdp-tx|dsr
  --katran DIR     a checkout of Katran: its program is built from there and measured beside l3-dsr's IPIP in the kernel
  --help           this

Reading the table: "median" is of all repeats; "ratio" is this path's figure by that of the path under "against", the
median of the ratios within each round. For latency, deaths and the core's nanoseconds less is better. The core's are absolute and
move with the machine. Compare nothing that ran while the machine was busy: see the load in the first lines.`;

export interface Options {
  readonly isQuick: boolean;
  readonly json: string | null;
  readonly only: string;
  readonly through: RegExp;
  readonly katran: string | null;
}

/** Null: help was asked for. Throws a TypeError for anything unknown, a SyntaxError for what is no regular expression. */
export function parseOptions(args: readonly string[]): Options | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      only: { type: 'string', default: '' },
      through: { type: 'string', default: '' },
      katran: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  return {
    isQuick: values.quick,
    json: values.json ?? null,
    only: values.only,
    through: new RegExp(values.through),
    katran: values.katran ?? null,
  };
}
