// Servers are in the data plane before a check through the path asks them, and get no flows for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withUpcoming } from '../../src/control/desired.ts';
import { configOf, targetOf } from '../plane/targets.ts';

const service = (method: string, servers: string, listen = '203.0.113.10:80/tcp') =>
  `{ listen: ${listen}, method: ${method}, servers: { ${servers} } }`;

/** "web listens 203.0.113.10: 10.0.1.11=1 10.0.1.12=0" */
function describe(before: string, after: string): string[] {
  const target = withUpcoming(targetOf(configOf(before)), configOf(after));
  return target.services.map(({ config, weights }) => {
    const vips = config.listens.map(({ vip }) => vip.text).join(' ');
    return `${config.name} ${vips}: ${config.servers.map(({ address }, i) => `${address.text}=${weights[i]}`).join(' ')}`;
  });
}

test('new servers of a service come in beside the old ones, without a weight', () => {
  const before = `  web: ${service('l2-dsr', 'a: 10.0.1.11, b: 10.0.1.12')}`;
  const after = `  web: ${service('l2-dsr', 'b: 10.0.1.12, a: 10.0.1.13')}`;
  assert.deepEqual(describe(before, after), ['web 203.0.113.10: 10.0.1.11=1 10.0.1.12=1 10.0.1.13=0']);
});

test('a new service comes in without its VIP', () => {
  const web = `  web: ${service('l2-dsr', 'a: 10.0.1.11')}`;
  const shop = `  shop: ${service('l2-dsr', 's: 10.0.1.21', '203.0.113.11:80/tcp')}`;
  assert.deepEqual(describe(web, `${web}\n${shop}`), ['web 203.0.113.10: 10.0.1.11=1', 'shop : 10.0.1.21=0']);
});

test('a service that changes its method keeps its servers until it has changed', () => {
  const before = `  web: ${service('l2-dsr', 'a: 10.0.1.11')}`;
  assert.deepEqual(describe(before, `  web: ${service('nat', 'a: 10.0.1.12')}`), ['web 203.0.113.10: 10.0.1.11=1']);
});
