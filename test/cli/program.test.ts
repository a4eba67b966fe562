// The command as people run it: a process of its own, with its words and its exit code.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { requirePrivileges } from '../../src/cli/privileges.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const folder = mkdtempSync(join(tmpdir(), 'fairlead-program-'));
after(() => rmSync(folder, { recursive: true }));

function run(...words: string[]): { code: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, FAIRLEAD_SOCKET: join(folder, 'nobody.sock') };
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words], { encoding: 'utf8', env });
  return { code: status, stdout, stderr };
}

function configFile(name: string, services: string): string {
  const file = join(folder, name);
  writeFileSync(file, `version: 1\ninterfaces: { outside: eth0 }\nservices:\n${services}`);
  return file;
}

const good = '  web: { listen: 203.0.113.10:80/tcp, method: full-nat, servers: { a: 10.0.1.11:80 } }\n';

test('wrong usage exits with 2, names what was wrong and guesses what was meant', () => {
  const cases: [string[], RegExp][] = [
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['servres'], /Did you mean servers\?/],
    [['status', '--colour'], /unknown option '--colour'/],
    [['status', '-o', 'xml'], /Allowed choices are table, json/],
    [['drain', 'web'], /missing required argument 'server'/],
    [['weight', 'web', 'web-1', '-5'], /-5/],
    [['weight', 'web', 'web-1', '70000'], /a weight is a number of 0 to 65535/],
    [['down', '--name', '../x'], /a name is a text of 1 to 32 of a-z, 0-9 and -/],
    [['lab', 'sideways'], /usage: fairlead lab up NAME/],
    [['flows', '--limit', '0'], /a limit is a number of 1 or more/],
    [['doctor', '--server'], /--server needs a service/],
    [['server-setup'], /missing required argument 'service'/],
    [['server-setup', 'web', '--apply', '--undo'], /cannot be used with option '--undo'/],
    [['server-setup', 'web', '--decap', 'ebpf'], /Allowed choices are auto, kernel, xdp, tc/],
  ];
  for (const [words, expected] of cases) {
    const { code, stderr } = run(...words);
    assert.match(stderr, expected, words.join(' '));
    assert.equal(code, 2, words.join(' '));
  }
});

test('help and version are no failures', () => {
  const help = run('--help');
  assert.equal(help.code, 0);
  assert.match(help.stdout, /Exit codes: 0 ok, 1 failed, 2 usage/);
  assert.equal(run('status', '--help').code, 0);
  assert.equal(run('lab', '--help').code, 0);
  assert.match(run('--version').stdout, /^\d+\.\d+\.\d+\n$/);
});

test('without a daemon the commands that ask one exit with 4 and say how to start it', () => {
  for (const words of [['status'], ['flows'], ['reload'], ['drain', 'web', 'web-1']]) {
    const { code, stdout, stderr } = run(...words);
    assert.equal(code, 4, words.join(' '));
    assert.equal(stdout.includes('{'), false);
    assert.match(stderr, /^fairlead: no fairlead answers on .*nobody\.sock\n {2}start it with "fairlead up -c FILE"/);
  }
});

test('a wrong configuration exits with 3, with its place and no stack trace', () => {
  const file = configFile('wrong.yaml', good.replace('method', 'methud'));
  for (const words of [
    ['check', '-c', file],
    ['up', '-c', file],
  ]) {
    const { code, stderr } = run(...words);
    assert.equal(code, 3);
    assert.match(stderr, /wrong\.yaml:4:\d+: unknown key "methud"; did you mean "method"\?\n +4 \|/);
    assert.doesNotMatch(stderr, /\bat .*\.ts:\d+/);
  }
  assert.equal(run('check', '-c', join(folder, 'no-such.yaml')).code, 3);
});

test('check says what a good file holds', () => {
  const { code, stdout } = run('check', '--no-host', '-c', configFile('good.yaml', good));
  assert.equal(code, 0);
  assert.match(
    stdout,
    /good\.yaml: good, 1 service, 1 server\nmemory: 1,048,576 flows: \d+ MiB and \d+ MiB of the guard, IPv6 another \d+ MiB/,
  );
});

test('check also speaks JSON, of good files and of wrong ones', () => {
  const fine = run('check', '--no-host', '-o', 'json', '-c', configFile('good.yaml', good));
  assert.deepEqual(pick(fine.stdout, 'isGood', 'problems', 'servers'), { isGood: true, problems: [], servers: 1 });
  const wrong = run('check', '-o', 'json', '-c', configFile('wrong.yaml', good.replace('method', 'methud')));
  assert.equal(wrong.code, 3);
  const { problems } = pick(wrong.stdout, 'problems') as { problems: { line: number; hint: string }[] };
  assert.ok(problems.some(({ line, hint }) => line === 4 && hint === 'did you mean "method"?'));
});

function pick(json: string, ...keys: string[]): Record<string, unknown> {
  const all = JSON.parse(json) as Record<string, unknown>;
  return Object.fromEntries(keys.map((key) => [key, all[key]]));
}

test('down that cannot know whose leftovers are meant asks for the name', () => {
  const { code, stderr } = run('down');
  assert.equal(code, 2);
  assert.match(stderr, /nobody\.sock, and it does not tell an instance's name\n {2}name the instance .* --name NAME/);
});

test('server-setup prints the shell text of a service whose servers need one', () => {
  const dsr = '  web: { listen: 203.0.113.10:80/tcp, method: l2-dsr, servers: { a: 10.0.1.11 } }\n';
  // full-nat from a VIP that its servers have would be no configuration.
  const file = configFile('dsr.yaml', dsr + good.replace('web', 'plain').replace('203.0.113.10:80', '203.0.113.11:80'));
  const printed = run('server-setup', 'web', '-c', file);
  assert.equal(printed.code, 0);
  assert.match(printed.stdout, /^#!\/bin\/sh\n# What a real server of service "web" needs \(l2-dsr\)/);
  const cases: [string[], number, RegExp][] = [
    [['wep'], 5, /there is no service "wep"\n {2}there are: web, plain/],
    [['plain'], 7, /service "plain" has method full-nat/],
    [['web', '--decap', 'xdp'], 7, /service "web" has no tunnel that --decap xdp could unwrap/],
  ];
  for (const [words, code, expected] of cases) {
    const refused = run('server-setup', ...words, '-c', file);
    assert.match(refused.stderr, expected);
    assert.equal(refused.code, code, words.join(' '));
  }
});

test('down with nothing there says so and is no failure', () => {
  const { code, stdout } = run('down', '--name', 'nobody-at-all', '--bpffs', folder);
  assert.equal(stdout, 'no daemon runs, and none left anything\n');
  assert.equal(code, 0);
});

test('down does not say that nothing was left where it may not look', () => {
  const hidden = join(folder, 'hidden');
  mkdirSync(hidden, { mode: 0o000 });
  chmodSync(folder, 0o755);
  // Root sees everything; anybody else may be as they are.
  const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const words = ['down', '--name', 'nobody', '--bpffs', hidden, '--socket', join(folder, 'nobody.sock')];
  const { status, stderr } = spawnSync(process.execPath, [main, ...words], { encoding: 'utf8', ...nobody });
  assert.match(stderr, /fairlead lacks privileges here/);
  assert.equal(status, 7);
});

test('a process without capabilities is told which it lacks', () => {
  assert.throws(() => requirePrivileges('CapEff:\t0000000000000000\n'), /CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF/);
  assert.throws(() => requirePrivileges('CapEff:\t0000000000003000\n'), /lacks privileges here: CAP_BPF$/);
  // CAP_SYS_ADMIN stands for CAP_BPF on kernels from before 5.8.
  requirePrivileges('CapEff:\t0000000000203000\n');
  requirePrivileges('CapEff:\t000001ffffffffff\n');
});
