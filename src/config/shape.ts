// The shape of a configuration file: which keys there are and what a value alone must look like. What values mean to
// each other is for rules.ts; which defaults fill the gaps is for build.ts.

import { z } from 'zod';
import { type CheckDraft, checkShape, commandLine, oneCheckShape } from './check-shape.ts';
import { parseListen, parseServerEndpoint, parseSources, type ServerEndpoint } from './endpoint.ts';
import { halfOpenShape } from './half-open.ts';
import { INSTANCE_PATTERN, INSTANCE_WORDS } from './instance.ts';
import { choice, duration, grammar, must, oneOrMore, textLike, wholeNumber } from './leaves.ts';
import { clientsShape, limitsShape } from './limit.ts';
import { LIMITS } from './limits.ts';
import { passiveMapShape, passiveShape } from './passive.ts';
import { stickyMapShape, stickyShape } from './sticky.ts';
import { parseTunnelSource } from './tunnel.ts';

export const NAME_PATTERN = /^[A-Za-z0-9._-]{1,63}$/;

const timeout = duration(1, LIMITS.durationMs).optional();
// IFNAMSIZ of the kernel is 16 with the closing zero; dev_valid_name() refuses slash, colon, space, "." and "..".
const interfaceName = textLike(/^(?!\.{1,2}$)[^\s/:]{1,15}$/, 'an interface name of at most 15 characters');
// sun_path of a Unix socket is 108 bytes with the closing zero.
const socketPath = textLike(/^\/[!-~]{0,106}$/, 'an absolute path of at most 107 plain characters');
const port = wholeNumber(1, LIMITS.port);
const map = must('a map');
const maxFlows = wholeNumber(1, LIMITS.flows.most);

const refuseOrDrop = choice('answer', ['refuse', 'drop']);

const common = {
  method: choice('method', ['nat', 'full-nat', 'l2-dsr', 'l3-dsr']).optional(),
  scheduler: choice('scheduler', ['rr', 'wrr', 'lc', 'wlc', 'lrt', 'p2c', 'sh', 'maglev']).optional(),
  hash: choice('hash', ['client', 'client-port'], ['client-mac']).optional(),
  sticky: stickyShape.optional(),
  check: checkShape.optional(),
  passive: passiveShape.optional(),
  limits: limitsShape.optional(),
  'on-no-server': refuseOrDrop.optional(),
  'on-servers-full': refuseOrDrop.optional(),
  hairpin: choice('way', ['snat', 'refuse']).optional(),
  'half-open': halfOpenShape.optional(),
  'drain-deadline': duration(1000, LIMITS.durationMs).optional(),
  'on-server-down': choice('way', ['keep', 'reset', 'rehash']).optional(),
};

const endpoint = grammar('an address, an address with a port, or a map', parseServerEndpoint);

const serverMap = z.strictObject(
  {
    address: grammar('an address, with or without a port', parseServerEndpoint),
    port: port.optional(),
    weight: wholeNumber(0, LIMITS.weight).optional(),
    'max-flows': maxFlows.optional(),
    check: checkShape.optional(),
  },
  map,
);

interface ServerDraft extends ServerEndpoint {
  readonly weight: number;
  readonly maxFlows?: number;
  readonly check?: CheckDraft;
}

const server = z.union([
  endpoint.transform(({ address, port }): ServerDraft => ({ address, port, weight: 1 })),
  serverMap.transform((written, context): ServerDraft => {
    const { port, weight = 1, check, 'max-flows': maxFlows } = written;
    const { address, port: inAddress } = written.address;
    if (port !== undefined && inAddress !== null) {
      const message = `the port is given twice: ${inAddress} in the address, and ${port}`;
      context.addIssue({ code: 'custom', message, path: ['port'] });
    }
    return {
      address,
      port: port ?? inAddress,
      weight,
      ...(maxFlows === undefined ? {} : { maxFlows }),
      ...(check === undefined ? {} : { check }),
    };
  }),
]);

const servers = z.record(z.string().regex(NAME_PATTERN), server, must('a map of names and addresses'));

const tunnel = z.strictObject(
  {
    type: choice('tunnel type', ['gre', 'ipip', 'gue']),
    source: grammar('an address or a prefix', parseTunnelSource),
    key: wholeNumber(0, 0xffff_ffff).optional(),
    ttl: wholeNumber(1, 255).optional(),
    dscp: wholeNumber(0, 63).optional(),
    port: port.optional(),
    'clamp-mss': z.boolean(must('true or false')).optional(),
    fragment: z.boolean(must('true or false')).optional(),
  },
  map,
);

const sourceWords = 'vip, an address, a range of addresses or a list of them';
const source = grammar(sourceWords, parseSources);

export const serviceShape = z.strictObject(
  {
    listen: oneOrMore(grammar('a text like 203.0.113.10:80/tcp', parseListen)),
    ...common,
    tunnel: tunnel.optional(),
    source: z.union([z.literal('vip', must(sourceWords)), oneOrMore(source)]).optional(),
    servers,
    backup: servers.optional(),
    allow: clientsShape.optional(),
    deny: clientsShape.optional(),
    'max-flows': maxFlows.optional(),
    'min-up': wholeNumber(1, LIMITS.servers).optional(),
    panic: z.boolean(must('true or false')).optional(),
    'slow-start': duration(1000, 3_600_000).optional(),
  },
  map,
);

const hook = z.strictObject(
  {
    exec: commandLine.optional(),
    webhook: textLike(/^https?:\/\/[^\s/]+[!-~]*$/, 'an address like https://host/path').optional(),
  },
  map,
);

export const fileShape = z.strictObject(
  {
    version: z.literal(1, must('1, the version of the format')),
    name: textLike(INSTANCE_PATTERN, `a text of ${INSTANCE_WORDS}`).optional(),
    interfaces: z.strictObject({ outside: interfaceName, inside: interfaceName.optional() }, map),
    engine: choice('engine', ['auto', 'packet', 'tc', 'xdp', 'xdp-generic']).optional(),
    bpffs: textLike(/^\/[^\s]{1,200}$/, 'an absolute path').optional(),
    workers: z
      .union([z.literal('auto'), wholeNumber(1, LIMITS.workers)], must(`auto or 1 to ${LIMITS.workers}`))
      .optional(),
    flows: wholeNumber(LIMITS.flows.least, LIMITS.flows.most).optional(),
    'sticky-clients': wholeNumber(LIMITS.stickyClients.least, LIMITS.stickyClients.most).optional(),
    timeouts: z
      .strictObject(
        {
          'syn-sent': timeout,
          'syn-received': timeout,
          established: timeout,
          closing: timeout,
          'time-wait': timeout,
          closed: timeout,
          'udp-one-way': timeout,
          udp: timeout,
        },
        map,
      )
      .optional(),
    control: z
      .strictObject(
        {
          socket: socketPath.optional(),
          state: textLike(/^\/[!-~]{1,4000}$/, 'an absolute path').optional(),
          group: textLike(/^[A-Za-z0-9_][A-Za-z0-9._-]*$/, 'the name of a group').optional(),
        },
        map,
      )
      .optional(),
    log: z
      .strictObject({ level: choice('level', ['trace', 'debug', 'info', 'warn', 'error']).optional() }, map)
      .optional(),
    notify: z.array(hook, must('a list of hooks')).max(16, must('a list of at most 16 hooks')).optional(),
    'on-no-service': refuseOrDrop.optional(),
    defaults: z.strictObject(common, map).optional(),
    // Each service is parsed on its own, so that one mistake does not hide what is wrong with the others.
    services: z.record(z.string().regex(NAME_PATTERN), z.unknown(), must('a map of names and services')),
  },
  map,
);

export type FileDraft = z.output<typeof fileShape>;
export type ServiceDraft = z.output<typeof serviceShape>;
export type TunnelDraft = z.output<typeof tunnel>;

/** Keys that may stand in the map at `path`, for "did you mean". Names of services and servers count as "*". */
export function keysAt(path: readonly (string | number)[]): readonly string[] {
  // "check" alone, in a list, or in a list under "all" or "any".
  const check = path.lastIndexOf('check');
  if (check !== -1 && !path.slice(check + 1).some((segment) => !/^(?:all|any|\d+)$/.test(String(segment)))) {
    return Object.keys(oneCheckShape.shape);
  }
  const place = path.map((segment, depth) => (isName(path, depth) ? '*' : segment));
  const shapes: Record<string, object> = {
    '': fileShape.shape,
    interfaces: fileShape.shape.interfaces.shape,
    timeouts: fileShape.shape.timeouts.unwrap().shape,
    control: fileShape.shape.control.unwrap().shape,
    log: fileShape.shape.log.unwrap().shape,
    defaults: common,
    'services.*': serviceShape.shape,
    'services.*.sticky': stickyMapShape.shape,
    'defaults.sticky': stickyMapShape.shape,
    'services.*.passive': passiveMapShape.shape,
    'defaults.passive': passiveMapShape.shape,
    'services.*.tunnel': tunnel.shape,
    'services.*.servers.*': serverMap.shape,
    'services.*.backup.*': serverMap.shape,
    'notify.*': hook.shape,
  };
  return Object.keys(shapes[place.join('.')] ?? {});
}

function isName(path: readonly (string | number)[], depth: number): boolean {
  return path[0] === 'notify' ? depth === 1 : path[0] === 'services' && (depth === 1 || depth === 3);
}
