// The lab itself: it leaves nothing behind, however it ends.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Background } from '../lib/background.ts';
import { execute } from '../lib/command.ts';
import { labsDirectory, listLabs, namespacesOf, regionsOf, sweepLabs } from '../lib/leftovers.ts';
import { noEngine } from '../lib/engine.ts';
import type { Scenario } from '../lib/scenario.ts';
import type { Lab } from '../lib/lab.ts';
import { buildInline, picture } from '../topologies/inline.ts';
import type { Topology } from '../topologies/topology.ts';
import { waitFor } from '../lib/wait-for.ts';

const main = join(import.meta.dirname, '..', 'main.ts');

async function labs(...args: string[]): Promise<string> {
  const result = await execute([process.execPath, main, ...args], `lab ${args.join(' ')}`);
  equal(result.code, 0, result.stderr);
  return result.stdout;
}

async function tracesOf(name: string): Promise<string[]> {
  return [...(await namespacesOf(name)), ...readdirSync(labsDirectory).filter((it) => it === name), ...regionsOf(name)];
}

async function keptLab(net: Topology): Promise<void> {
  const text = await labs('up', 'one-arm');
  const name = /The lab (\S+) stands/.exec(text)?.[1] ?? '';
  const state = listLabs().find((lab) => lab.name === name);
  ok(state?.isKept, 'the lab outlives the command that made it');
  ok((await labs('list')).includes(name), 'it is listed');
  const answer = await execute(
    ['ip', 'netns', 'exec', `${name}-client`, 'curl', '-s', '--max-time', '5', 'http://10.0.1.10/'],
    'curl',
  );
  ok(
    answer.stdout.startsWith('web-'),
    `its balancer works beside the lab of this scenario: ${answer.stdout}${answer.stderr}`,
  );
  await labs('down', name);
  deepEqual(await tracesOf(name), [], 'nothing is left of it');
  ok((await tracesOf(net.lab.name)).length > 0, 'other labs are not touched');
}

async function endedLab(net: Topology, signal: NodeJS.Signals): Promise<void> {
  const log = net.client.file(`interrupted-${signal}.log`);
  const runner = new Background('runner', [process.execPath, main, 'up', 'inline'], 'lab up inline', log, {});
  const name = `fl${runner.pid}-1`;
  await waitFor(
    'the lab to be half made',
    () => tracesOf(name),
    (traces) => traces.length > 5,
  );
  process.kill(runner.pid, signal);
  await runner.ended;
  if (signal === 'SIGKILL') {
    ok((await tracesOf(name)).length > 0, 'kill -9 leaves a lab behind');
    // Whoever comes next sweeps it.
    ok((await sweepLabs()).includes(name), 'the sweep finds it');
  }
  deepEqual(await tracesOf(name), [], `nothing is left after ${signal}`);
}

const stage = (lab: Lab) => buildInline(lab, { servers: 1, captures: false });

export const scenarios: Scenario[] = [
  {
    name: 'lab-up-and-down',
    title: 'a lab can be left standing beside others and taken down without a trace',
    picture,
    engines: noEngine,
    stage,
    run: keptLab,
  },
  {
    name: 'lab-interrupted',
    title: 'a lab whose maker is interrupted or killed leaves nothing behind',
    picture,
    engines: noEngine,
    stage,
    run: async (net) => {
      await endedLab(net, 'SIGINT');
      await endedLab(net, 'SIGKILL');
    },
  },
];
