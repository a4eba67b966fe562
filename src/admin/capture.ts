// What fairlead does to frames, as lines of JSON while somebody listens. Whoever forwards reports its decisions only then:
// nobody listening costs a load and a branch.

import { setTimeout as pause } from 'node:timers/promises';
import { interfaceNames } from '../control/desired.ts';
import { notFound } from '../control/overrides.ts';
import type { ControlState } from '../control/state.ts';
import { readAddress } from '../plane/counters.ts';
import { readServerSlot } from '../plane/flow-reader.ts';
import type { Plane } from '../plane/plane.ts';
import { makeSampleReader, type Sample, type SampledFrame } from '../plane/samples.ts';

export interface CaptureView {
  /** Milliseconds since 1970, with fractions. */
  readonly atMs: number;
  readonly interface: string;
  readonly out: string | null;
  readonly verdict: string;
  readonly reason: string;
  /** Null when the frame belongs to no flow. */
  readonly service: string | null;
  readonly server: string | null;
  readonly before: FrameView;
  readonly after: FrameView | null;
}

export interface FrameView {
  readonly length: number;
  readonly base64: string;
}

export interface Capture {
  /** Throws not-found at once for a service that is not there. The first line is empty: the tap is open. */
  stream(service: string | undefined): AsyncGenerator<string>;
}

const POLL_MS = 20;
/** An empty line now and then shows a quiet daemon to be alive. */
const HEARTBEAT_MS = 5000;

export function makeCapture(plane: Plane, state: () => ControlState): Capture {
  let listeners = 0;
  const queues = new Set<Sample[]>();
  const reader = makeSampleReader();
  const poll = (): void => {
    const samples = reader.read(plane.samples()).filter(({ verdict }) => verdict !== 'passed');
    for (const queue of queues) queue.push(...samples);
  };

  async function* stream(service: string | undefined): AsyncGenerator<string> {
    const queue: Sample[] = [];
    queues.add(queue);
    listeners++;
    try {
      let quietSinceMs = Date.now();
      yield '\n';
      for (;;) {
        // Also after a switch to another engine.
        plane.sample(true);
        poll();
        const lines = queue.splice(0).flatMap((sample) => lineOf(sample, service));
        if (lines.length > 0) yield lines.join('');
        else if (Date.now() - quietSinceMs < HEARTBEAT_MS) await pause(POLL_MS);
        else yield '\n';
        if (lines.length > 0 || Date.now() - quietSinceMs >= HEARTBEAT_MS) quietSinceMs = Date.now();
      }
    } finally {
      queues.delete(queue);
      listeners--;
      if (listeners === 0) plane.sample(false);
    }
  }

  function lineOf(sample: Sample, service: string | undefined): string[] {
    const view = viewSample(plane, state(), sample);
    return service === undefined || view.service === service ? [`${JSON.stringify(view)}\n`] : [];
  }

  return {
    stream: (service) => {
      const { services } = state();
      if (service !== undefined && !services.some(({ config }) => config.name === service)) {
        throw notFound(
          'service',
          service,
          services.map(({ config }) => config),
        );
      }
      return stream(service);
    },
  };
}

function viewSample(plane: Plane, state: ControlState, sample: Sample): CaptureView {
  const names = interfaceNames(state.config);
  const owner = sample.flow === null ? serviceOfVip(state, sample) : ownerOf(plane, state, sample.flow);
  const { verdict, reason, before, after } = sample;
  return {
    atMs: Date.now() - Number(process.hrtime.bigint() - sample.atNs) / 1e6,
    interface: names[sample.interfaceId] ?? `#${sample.interfaceId}`,
    out: after === null ? null : (names[sample.outInterfaceId] ?? `#${sample.outInterfaceId}`),
    verdict,
    reason,
    service: owner?.service ?? null,
    server: owner?.server ?? null,
    before: viewFrame(before),
    after: after === null ? null : viewFrame(after),
  };
}

function viewFrame({ length, data }: SampledFrame): FrameView {
  return { length, base64: Buffer.from(data).toString('base64') };
}

interface Owner {
  readonly service: string;
  readonly server: string | null;
}

function ownerOf(plane: Plane, { services }: ControlState, flow: number): Owner | null {
  const slot = readServerSlot(plane, flow);
  for (const { config, servers } of services) {
    const server = servers.find((candidate) => candidate.slot === slot);
    if (server !== undefined) return { service: config.name, server: server.config.name };
  }
  return null;
}

const ETHERTYPES = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100, qinq: 0x88a8 } as const;

/** The service of a VIP and port that a frame without a flow was for, as far as its headers are plain. */
function serviceOfVip({ services }: ControlState, { before: { data } }: Sample): Owner | null {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 12;
  while (at + 6 <= data.byteLength && [ETHERTYPES.vlan, ETHERTYPES.qinq].some((tag) => tag === view.getUint16(at)))
    at += 4;
  const isV6 = at + 2 <= data.byteLength && view.getUint16(at) === ETHERTYPES.ipv6;
  const ip = at + 2;
  const header = isV6 ? 40 : 20;
  if (ip + header + 4 > data.byteLength || (!isV6 && view.getUint16(at) !== ETHERTYPES.ipv4)) return null;
  const target = readAddress(view, ip + (isV6 ? 24 : 16), isV6).text;
  const number = view.getUint8(ip + (isV6 ? 6 : 9));
  const protocol = number === PROTOCOLS.tcp ? 'tcp' : number === PROTOCOLS.udp ? 'udp' : null;
  const port = view.getUint16(ip + (isV6 ? header : (view.getUint8(ip) & 15) * 4) + 2);
  const found = services.find(({ config }) =>
    config.listens.some(
      (listen) =>
        listen.vip.text === target &&
        listen.protocol === protocol &&
        port >= listen.firstPort &&
        port <= listen.lastPort,
    ),
  );
  return found === undefined ? null : { service: found.config.name, server: null };
}

const PROTOCOLS = { tcp: 6, udp: 17 } as const;
