// Who may begin a flow with a service, and how many: lists of prefixes, and budgets of the service and of each client.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { constants } from '../../src/native/layout.ts';
import { connectionsOf } from './connections.ts';
import { engines } from './engines.ts';
import { addressesOf, type Exchange, request, serviceOf } from './exchange.ts';
import { addressOf, buildFrame, checksumOfIpv4, put16 } from './frame.ts';
import { openStage, type Stage, TICK_NS } from './stage.ts';

const udp: Exchange = { method: 'nat', protocol: 'udp', family: 4 };
const udp6: Exchange = { ...udp, family: 6 };
const LAG = TICK_NS / 1e9; // s

function ask(stage: Stage, exchange: Exchange, from: string, port = 40_000): string {
  return stage.send({ ...request(exchange), from, fromPort: port }).said;
}

/** How many of so many new flows, each from a port of its own, are let in. */
function admitted(stage: Stage, from: string, ports: number, firstPort = 1, exchange = udp): number {
  let count = 0;
  for (let port = firstPort; port < firstPort + ports; port++) {
    if (ask(stage, exchange, from, port) === 'forwarded: new-flow') count++;
  }
  return count;
}

/** The same IPv4 UDP frame from another client. */
function fromClient(octets: Uint8Array, client: string): Uint8Array {
  const frame = Uint8Array.from(octets);
  frame.set(addressOf(client).bytes, 26);
  put16(frame, 24, 0);
  put16(frame, 24, checksumOfIpv4(frame));
  put16(frame, 40, 0);
  return frame;
}

for (const engine of engines) {
  describe(`${engine.name}: what a service lets in`, () => {
    const lists = ['allow: [198.51.100.0/24, 192.0.2.7]', 'deny: [198.51.100.64/26, 198.51.0.0/16, 198.51.100.80]'];

    for (const [from, said] of [
      ['198.51.100.7', 'forwarded: new-flow'],
      ['198.51.100.0', 'forwarded: new-flow'],
      ['198.51.100.63', 'forwarded: new-flow'],
      ['198.51.100.64', 'dropped: denied'],
      ['198.51.100.80', 'dropped: denied'],
      ['198.51.100.127', 'dropped: denied'],
      ['198.51.100.128', 'forwarded: new-flow'],
      ['198.51.100.255', 'forwarded: new-flow'],
      ['198.51.101.0', 'dropped: denied'],
      ['198.51.99.255', 'dropped: denied'],
      ['192.0.2.6', 'dropped: denied'],
      ['192.0.2.7', 'forwarded: new-flow'],
      ['192.0.2.8', 'dropped: denied'],
      ['1.0.0.1', 'dropped: denied'],
      ['223.255.255.255', 'dropped: denied'],
    ] as const) {
      test(`of nested prefixes the longest decides: ${from}`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(udp, lists));
        assert.equal(ask(stage, udp, from), said);
      });
    }

    test('with a deny list alone all others may come', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp, ['deny: 198.51.100.0/25']));
      assert.equal(ask(stage, udp, '198.51.100.7'), 'dropped: denied');
      assert.equal(ask(stage, udp, '198.51.100.128'), 'forwarded: new-flow');
      assert.equal(ask(stage, udp, '8.8.8.8'), 'forwarded: new-flow');
    });

    test('IPv6 prefixes of any length', (t) => {
      const stage = openStage(t, engine);
      stage.configure(
        serviceOf(udp6, ['allow: ["2001:db8:c::/48", "2001:db8:d::1:0/113"]', 'deny: "2001:db8:c:7::/64"']),
      );
      assert.equal(ask(stage, udp6, '2001:db8:c::7'), 'forwarded: new-flow');
      assert.equal(ask(stage, udp6, '2001:db8:c:7::7'), 'dropped: denied');
      assert.equal(ask(stage, udp6, '2001:db8:c:8::7'), 'forwarded: new-flow');
      assert.equal(ask(stage, udp6, '2001:db8:d::1:7fff'), 'forwarded: new-flow');
      assert.equal(ask(stage, udp6, '2001:db8:d::1:8000'), 'dropped: denied');
      assert.equal(ask(stage, udp6, '2001:db9::1'), 'dropped: denied');
    });

    test('a thousand prefixes', (t) => {
      const stage = openStage(t, engine);
      const denied = Array.from({ length: 400 }, (_, i) => `198.${i >> 7}.${(i & 127) * 2}.0/24`);
      stage.configure(serviceOf(udp, [`deny: [${denied.join(', ')}]`]));
      for (let i = 0; i < 400; i += 13) {
        const net = `198.${i >> 7}.${(i & 127) * 2}`;
        assert.equal(ask(stage, udp, `${net}.0`), 'dropped: denied');
        assert.equal(ask(stage, udp, `${net}.255`), 'dropped: denied');
        assert.equal(ask(stage, udp, `198.${i >> 7}.${(i & 127) * 2 + 1}.0`), 'forwarded: new-flow');
      }
    });

    test('who is put on the deny list keeps the flows it has', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp));
      const { client } = addressesOf(udp);
      assert.equal(ask(stage, udp, client), 'forwarded: new-flow');
      stage.configure(serviceOf(udp, [`deny: ${client}`]));
      assert.equal(ask(stage, udp, client), 'forwarded: client-hit');
      assert.equal(ask(stage, udp, client, 40_001), 'dropped: denied');
    });

    test('a service takes so many new flows a second, and saves up for one', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp, ['limits: { new-flows: 100/s }']));
      const first = admitted(stage, '198.51.100.7', 500);
      assert.ok(first >= 100 && first <= 115, `${first} at once`);
      assert.equal(ask(stage, udp, '198.51.100.9'), 'dropped: service-limited');
      stage.wait(0.5);
      const half = admitted(stage, '198.51.100.7', 500, 1000);
      assert.ok(half >= 35 && half <= 65, `${half} after half a second`);
      stage.wait(60);
      const later = admitted(stage, '198.51.100.7', 500, 2000);
      assert.ok(later >= 100 && later <= 115, `${later} after a minute`);
    });

    for (const [whose, limits] of [
      ['service', '{ new-flows: 100/s }'],
      ['client', '{ client: { new-flows: 100/s } }'],
    ] as const) {
      test(`a processor whose clock lags by a tick has no budget of its own: ${whose}’s`, (t) => {
        const stage = openStage(t, engine);
        stage.configure(serviceOf(udp, [`limits: ${limits}`]));
        admitted(stage, '198.51.100.7', 500);
        for (let port = 50_000; port < 50_020; port++) {
          stage.wait(port % 2 === 0 ? -LAG : LAG);
          assert.equal(ask(stage, udp, '198.51.100.7', port), `dropped: ${whose}-limited`);
        }
      });
    }

    test('a rate below one a tick is a rate', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp, ['limits: { new-flows: 30/m }']));
      let count = 0;
      for (let second = 0; second < 60; second++) {
        stage.wait(1);
        count += admitted(stage, '198.51.100.7', 3, 1000 + 3 * second);
      }
      assert.ok(count >= 25 && count <= 61, `${count} in a minute`);
    });

    test('each client has a budget of its own', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp, ['limits: { client: { new-flows: 10/s } }']));
      for (const client of ['198.51.100.7', '198.51.100.8', '198.51.101.7']) {
        const count = admitted(stage, client, 50);
        assert.ok(count >= 10 && count <= 12, `${count} of ${client}`);
        assert.equal(ask(stage, udp, client, 60_000), 'dropped: client-limited');
      }
    });

    test('a network has one together, of IPv4 its /24, of IPv6 its /48; an IPv6 address that of its /64', (t) => {
      const stage = openStage(t, engine);
      const limits = (by: string) => [`limits: { client: { by: ${by}, flows: 3 } }`];
      stage.configure(serviceOf(udp, limits('network')));
      const said = ['198.51.100.7', '198.51.100.8', '198.51.100.9', '198.51.100.10', '198.51.101.7'];
      assert.deepEqual(
        said.map((from) => ask(stage, udp, from)),
        [...Array.from({ length: 3 }, () => 'forwarded: new-flow'), 'dropped: client-limited', 'forwarded: new-flow'],
      );
      const [one, other] = [openStage(t, engine), openStage(t, engine)];
      one.configure(serviceOf(udp6, limits('address')));
      assert.equal(admitted(one, '2001:db8:c:1::1', 2, 1, udp6) + admitted(one, '2001:db8:c:1::2', 5, 1, udp6), 3);
      assert.equal(admitted(one, '2001:db8:c:2::2', 5, 1, udp6), 3);
      other.configure(serviceOf(udp6, limits('network')));
      assert.equal(admitted(other, '2001:db8:c:1::1', 2, 1, udp6) + admitted(other, '2001:db8:c:2::2', 5, 1, udp6), 3);
    });

    const fivePerClient = ['limits: { client: { flows: 5 } }'];

    test('a flow that ends makes room for its client, however it ends', (t) => {
      const stage = openStage(t, engine);
      stage.configure(serviceOf(udp, fivePerClient), { head: 'timeouts: { udp-one-way: 10s }' });
      assert.equal(admitted(stage, '198.51.100.7', 20), 5);
      stage.wait(20);
      assert.equal(stage.age(), 5);
      assert.equal(admitted(stage, '198.51.100.7', 20, 100), 5);
      stage.configure(serviceOf(udp, fivePerClient).replace('10.0.1.11', '10.0.1.12'));
      stage.age();
      assert.equal(admitted(stage, '198.51.100.7', 20, 200), 5);
    });

    test('a service has so many open flows; closed ones do not count', (t) => {
      const stage = openStage(t, engine);
      const tcp: Exchange = { ...udp, protocol: 'tcp' };
      stage.configure(serviceOf(tcp, ['limits: { flows: 3 }']));
      const { establish } = connectionsOf(stage);
      for (const port of [1, 2, 3]) establish(port);
      assert.equal(stage.send({ ...request(tcp), fromPort: 4 }).said, 'dropped: service-limited');
      stage.configure(serviceOf(tcp, ['limits: { flows: 3 }', 'max-flows: 100']));
      assert.equal(
        stage.send({ ...request(tcp), fromPort: 4 }).said,
        'dropped: service-limited',
        'a commit counts them anew',
      );
      stage.configure(serviceOf(tcp, ['limits: { flows: 4 }']));
      assert.equal(stage.send({ ...request(tcp), fromPort: 4 }).said, 'forwarded: new-flow');
    });

    test('when the table of clients is full, who is not in it is let in', (t) => {
      const stage = openStage(t, engine, { flows: 65_536 });
      stage.configure(serviceOf(udp, ['limits: { client: { flows: 1 } }']));
      const clientOf = (i: number) => `20.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
      const octets = buildFrame(request(udp));
      for (let i = 1; i <= 2 * constants.clients; i++) {
        stage.flood(fromClient(octets, clientOf(i)));
      }
      const more = Array.from({ length: 200 }, (_, i) => ask(stage, udp, clientOf(160 * i + 1), 7));
      const limited = more.filter((said) => said === 'dropped: client-limited').length;
      assert.ok(limited > 60 && limited < 140, `${limited} of 200 are in the table`);
      assert.equal(more.filter((said) => said === 'forwarded: new-flow').length, 200 - limited);
    });
  });
}
