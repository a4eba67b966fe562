import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EngineName } from '../../src/config/config.ts';
import { chooseEngine, formatAttachments } from '../../src/control/engine-choice.ts';

interface Case {
  readonly title: string;
  readonly wanted?: EngineName;
  /** "eth0 veth", "eth0" for one whose driver is unknown. */
  readonly interfaces: readonly string[];
  /** In the order of preference; one with "!" is strict. */
  readonly candidates: readonly string[];
  /** Of the first. */
  readonly why: string;
}

const SUPER_FRAMES = 'super-frames and unfinished checksums, which tc keeps';

const cases: readonly Case[] = [
  {
    title: 'packet that is configured is the only one',
    wanted: 'packet',
    interfaces: ['eth0 mlx5_core', 'eth1 mlx5_core'],
    candidates: ['packet/packet'],
    why: 'configured',
  },
  {
    title: 'tc that is configured is the only one, also on cards',
    wanted: 'tc',
    interfaces: ['eth0 mlx5_core'],
    candidates: ['tc'],
    why: 'configured',
  },
  {
    title: 'xdp that is configured may turn out to be generic',
    wanted: 'xdp',
    interfaces: ['eth0 e1000', 'eth1 veth'],
    candidates: ['xdp/xdp'],
    why: 'configured',
  },
  {
    title: 'xdp-generic that is configured is taken by its word',
    wanted: 'xdp-generic',
    interfaces: ['eth0 veth', 'eth1 veth'],
    candidates: ['xdp-generic/xdp-generic!'],
    why: 'configured',
  },
  {
    title: 'on veth it is tc, and packet where the kernel takes no programs',
    interfaces: ['eth0 veth', 'eth1 veth'],
    candidates: ['tc/tc', 'packet/packet'],
    why: `auto: eth0 and eth1 (veth) pass ${SUPER_FRAMES}`,
  },
  {
    title: 'on a virtual machine’s card it is tc, although that driver has XDP',
    interfaces: ['ens3 virtio_net'],
    candidates: ['tc', 'packet'],
    why: `auto: ens3 (virtio_net) passes ${SUPER_FRAMES}`,
  },
  {
    title: 'where every card has XDP in its driver it is xdp there and nowhere else, then tc, then packet',
    interfaces: ['eth0 mlx5_core', 'eth1 ice'],
    candidates: ['xdp/xdp!', 'tc/tc', 'packet/packet'],
    why: 'auto: eth0 is a card whose driver (mlx5_core) has XDP; eth1 is a card whose driver (ice) has XDP',
  },
  {
    title: 'where one of two has none it is tc on both, and the why names that one',
    interfaces: ['eth0 mlx5_core', 'eth1 veth'],
    candidates: ['tc/tc', 'packet/packet'],
    why: `auto: eth1 (veth) passes ${SUPER_FRAMES}`,
  },
  {
    title: 'of cards with one driver the why says it once',
    interfaces: ['eth0 ice', 'eth1 ice'],
    candidates: ['xdp/xdp!', 'tc/tc', 'packet/packet'],
    why: 'auto: eth0 and eth1 are cards whose driver (ice) has XDP',
  },
  {
    title: 'a card whose driver is not known to have XDP gets tc',
    interfaces: ['eno1 e1000e'],
    candidates: ['tc', 'packet'],
    why: 'auto: eno1 is a card whose driver (e1000e) is not known to have XDP; behind any driver tc works',
  },
  {
    title: 'an interface that names no driver gets tc',
    interfaces: ['eth0'],
    candidates: ['tc', 'packet'],
    why: 'auto: eth0 names no driver; behind any driver tc works',
  },
  {
    title: 'cards are known by what their driver calls itself, not by its folder',
    interfaces: ['eth0 nicvf', 'eth1 fsl_dpaa2_eth', 'eth2 fsl_enetc'],
    candidates: ['xdp/xdp/xdp!', 'tc/tc/tc', 'packet/packet/packet'],
    why: 'auto: eth0 is a card whose driver (nicvf) has XDP; eth1 is a card whose driver (fsl_dpaa2_eth) has XDP; eth2 is a card whose driver (fsl_enetc) has XDP',
  },
];

describe('the choice of an engine', () => {
  for (const { title, wanted = 'auto', interfaces, candidates, why } of cases) {
    test(title, () => {
      const facts = interfaces.map((text) => {
        const [name = '', driver = ''] = text.split(' ');
        return { name, driver };
      });
      const chosen = chooseEngine(wanted, facts);
      assert.deepEqual(
        chosen.map(({ attachments, isStrict }) => `${attachments.join('/')}${isStrict ? '!' : ''}`),
        candidates,
      );
      assert.equal(chosen[0]?.why, why);
    });
  }

  test('is said in a word where all interfaces have the same, and by interface where not', () => {
    assert.equal(formatAttachments(['tc', 'tc'], ['eth0', 'eth1']), 'tc');
    assert.equal(formatAttachments(['packet'], ['eth0']), 'packet');
    assert.equal(formatAttachments(['xdp', 'xdp-generic'], ['eth0', 'eth1']), 'xdp on eth0 and xdp-generic on eth1');
  });

  test('what comes after says why it is not what would be best', () => {
    const whys = chooseEngine('auto', [{ name: 'eth0', driver: 'ice' }]).map(({ why }) => why);
    assert.deepEqual(whys.slice(1), [
      'auto: the driver does not take XDP as it is set up',
      'auto: no programs in the kernel',
    ]);
  });
});
