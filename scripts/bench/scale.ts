// How large it may be: ten million flows in the core (bench-core --scale), and a configuration of ten thousand services,
// one of them with ten thousand servers, through the real control plane: from an operator's word to the frames that go by
// it, and the part of that in which C takes the image.

import { pino } from 'pino';
import { makeSystemClock } from '../../src/base/clock.ts';
import type { Config } from '../../src/config/config.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { makeController } from '../../src/control/controller.ts';
import { countsFor, octetsOf } from '../../src/plane/capacity.ts';
import { makeKernelReplayPlane, makeReplayPlane } from '../../src/plane/native-plane.ts';
import type { Plane, SectionName } from '../../src/plane/plane.ts';
import { measureScale } from './core.ts';
import { median, type Row } from './row.ts';

const SERVICES = 10_000;
const SERVERS_OF_ONE = 10_000;
const SERVERS_OF_OTHERS = 4;
const FLOWS = 10_000_000;

export async function measureScales(isQuick: boolean): Promise<Row[]> {
  const repeats = isQuick ? 5 : 15;
  const config = largeConfig();
  const counts = countsFor(config, 1);
  const octets = octetsOf(counts, Object.keys(counts) as SectionName[]);
  const rows: Row[] = [figure('region-octets', 'all', octets, 'B')];
  // Flows cost no commit anything, so these regions have few.
  const few = countsFor({ ...config, flows: 4096 }, 1);
  rows.push(...(await measureCommits('packet', makeReplayPlane(few, 1), config, repeats)));
  if (process.getuid?.() === 0) {
    rows.push(...(await measureCommits('tc', makeKernelReplayPlane(few, 'tc'), config, repeats)));
  }
  return [...rows, ...(await measureScale())];
}

function figure(measure: string, path: string, value: number, unit: string): Row {
  return { measure, path, flows: FLOWS, value, unit, against: null, ratio: null };
}

/** A server of the large service is drained and enabled again, so each commit has another table of 65,537 entries. */
async function measureCommits(path: string, plane: Plane, config: Config, repeats: number): Promise<Row[]> {
  const taken: number[] = [];
  const whole: number[] = [];
  const cpu: number[] = [];
  const commit = (image: ArrayBuffer): number => {
    const start = performance.now();
    const generation = plane.commit(image);
    taken.push(performance.now() - start);
    return generation;
  };
  const controller = makeController({
    plane: { ...plane, commit },
    config,
    clock: makeSystemClock(),
    probe: () => Promise.reject(new Error('nothing is checked here')),
    log: pino({ level: 'silent' }),
    inspect: () => ({ links: [], addresses: [] }),
    prepare: () => {},
  });
  await controller.start();
  for (let repeat = 0; repeat < repeats * 2; repeat++) {
    const [start, before] = [performance.now(), process.threadCpuUsage()];
    controller.override('w0', 's0', { admin: repeat % 2 === 0 ? 'drained' : 'enabled' });
    whole.push(performance.now() - start);
    const { user, system } = process.threadCpuUsage(before);
    cpu.push((user + system) / 1000);
  }
  controller.stop();
  plane.close();
  return [
    figure('commit', path, median(taken), 'ms'),
    figure('commit-largest', path, Math.max(...taken), 'ms'),
    figure('commit-decided', path, median(whole), 'ms'),
    figure('commit-decided-largest', path, Math.max(...whole), 'ms'),
    figure('commit-decided-cpu', path, median(cpu), 'ms'),
  ];
}

function largeConfig(): Config {
  const services = Array.from({ length: SERVICES }, (_, index) => {
    const count = index === 0 ? SERVERS_OF_ONE : SERVERS_OF_OTHERS;
    const first = index === 0 ? 0 : SERVERS_OF_ONE + (index - 1) * SERVERS_OF_OTHERS;
    const servers = Array.from({ length: count }, (_, at) => `s${at}: ${addressIn(10, first + at)}:8080`);
    const scheduler = index === 0 ? 'maglev' : index % 2 === 0 ? 'rr' : 'wlc';
    return `  w${index}: { listen: ${addressIn(100, index)}:80/tcp, scheduler: ${scheduler}, servers: { ${servers.join(', ')} } }`;
  });
  const head = `version: 1\ninterfaces: { outside: eth0, inside: eth1 }\nflows: ${FLOWS}\n`;
  const defaults = `defaults: { method: nat, check: none }\n`;
  return parseConfig(`${head}${defaults}services:\n${services.join('\n')}\n`, 'large.yaml');
}

/** The address so far into NET.64.0.0/10. */
function addressIn(net: number, index: number): string {
  return `${net}.${64 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
}
