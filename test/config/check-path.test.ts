// Which path a check takes when its configuration does not say so, and when it does.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configOf } from '../plane/targets.ts';

function pathOf(method: string, check: string, listen = '203.0.113.10:80/tcp'): string {
  const written = check === '' ? '' : `check: ${check}, `;
  const config = configOf(`  web: { listen: ${listen}, method: ${method}, ${written}servers: { a: 10.0.1.11 } }`);
  return (config.services[0]?.check?.checks ?? []).map(({ target }) => target).join(' ');
}

test('checks of direct server return go to the VIP, those of nat to the server', () => {
  assert.equal(pathOf('l2-dsr', ''), 'vip');
  assert.equal(pathOf('l2-dsr', '{ type: http }'), 'vip');
  assert.equal(pathOf('l2-dsr', '{ type: tcp-half-open }'), 'vip');
  assert.equal(pathOf('l2-dsr', '{ type: dns }', '203.0.113.53:53/udp'), 'vip');
  assert.equal(pathOf('nat', '{ type: http }'), 'server');
});

test('a port that no client uses is asked of the server, unless the VIP is written', () => {
  assert.equal(pathOf('l2-dsr', '{ type: tcp, port: 80 }'), 'vip');
  assert.equal(pathOf('l2-dsr', '{ type: tcp, port: 8080 }'), 'server');
  assert.equal(pathOf('l2-dsr', '{ type: tcp, port: 8080, target: vip }'), 'vip');
  assert.equal(pathOf('l2-dsr', '{ type: agent, port: 9999 }'), 'server');
});

test('what asks the host goes to the server, and with nat both paths are the same', () => {
  assert.equal(
    pathOf('l2-dsr', '[{ type: icmp }, { type: exec, command: [/bin/true] }, { type: http }]'),
    'server server vip',
  );
  assert.equal(pathOf('l2-dsr', '{ type: http, target: server }'), 'server');
  assert.equal(pathOf('full-nat', '{ type: http, target: vip }'), 'server');
});
