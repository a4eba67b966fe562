// Walks at random over what the two ends of some connections can say, a client that forgets, somebody who guesses, and
// routers among them. The same seed is the same walk.
import { families, type Family } from '../topologies/topology.ts';
import { type Random, randomOf } from './random.ts';
import { errors, Flow, type Quoted, type Side, type Speaker, type Stimulus } from './stimuli.ts';

const quotings: readonly Quoted[] = ['all', 'a TCP header', '8 octets', 'no octets'];

class Walker {
  private readonly random: Random;
  private readonly flow: Flow;
  private readonly family: Family;
  private phase: 'none' | 'asked' | 'answered' | 'open' | 'refused' | 'over' = 'none';
  private readonly isOver: Record<Side, boolean> = { w: false, e: false };
  /** Who still speaks of a connection that is over: with a reset, not who sent it. */
  private late: readonly Side[] = [];
  private last: Record<Side, { at: number; payload: string; flags: string } | null> = { w: null, e: null };

  constructor(random: Random, flow: Flow, family: Family) {
    this.random = random;
    this.flow = flow;
    this.family = family;
  }

  private say(side: Side, flags: string, payload = ''): void {
    const { flow } = this;
    const at = side === 'w' ? flow.clientNext : flow.serverNext;
    if (side === 'w') flow.client(flags, payload === '' ? {} : { payload });
    else flow.server(flags, payload === '' ? {} : { payload });
    if (payload !== '' || /[SF]/.test(flags)) this.last[side] = { at, payload, flags };
  }

  private again(side: Side): void {
    const last = this.last[side];
    if (last === null || (last.flags.includes('S') && this.phase !== 'asked' && this.phase !== 'answered')) return;
    if (side === 'w') this.flow.client(last.flags, last);
    else this.flow.server(last.flags, last);
  }

  private error(): void {
    const { pick } = this.random;
    const name = pick(Object.keys(errors[this.family]));
    this.flow.error(pick(['w', 'e']), pick<Speaker>(['router', 'end']), name, pick(quotings));
  }

  step(): void {
    const { phase } = this;
    if (phase === 'open') this.live();
    else if (phase === 'asked') this.answer();
    else if (phase === 'answered') this.complete();
    else this.begin();
  }

  private begin(): void {
    const { flow } = this;
    if (this.phase === 'none' && this.random.below(3) === 0) {
      flow.client(this.random.pick(['A', 'R', 'RA', '', 'FPU', 'SF', 'FA', 'SA']), { at: flow.clientNext });
      return;
    }
    if (this.phase === 'over' && this.random.below(3) > 0) {
      const side = this.random.pick(this.late);
      if (this.random.below(2) === 0) this.again(side);
      else if (side === 'w') flow.client('A');
      else flow.server('A');
      return;
    }
    if (this.phase !== 'none') flow.again(1 + this.random.below(2_000_000));
    this.isOver.w = false;
    this.isOver.e = false;
    this.last = { w: null, e: null };
    this.say('w', 'S');
    this.phase = 'asked';
  }

  private end(...late: readonly Side[]): void {
    this.phase = 'over';
    this.late = late;
  }

  private answer(): void {
    switch (this.random.below(6)) {
      case 0:
        this.again('w');
        return;
      case 1:
        this.flow.server('RA', { at: 0 });
        this.phase = 'refused';
        return;
      case 2:
        this.error();
        return;
      default:
        this.say('e', 'SA');
        this.phase = 'answered';
    }
  }

  private complete(): void {
    switch (this.random.below(6)) {
      case 0:
        this.again('e');
        return;
      case 1:
        this.flow.client('R');
        this.phase = 'refused';
        return;
      case 2:
        this.again('w');
        return;
      default:
        this.flow.client('A');
        this.phase = 'open';
    }
  }

  private live(): void {
    const { flow } = this;
    const { below, pick } = this.random;
    const side = pick<Side>(['w', 'e']);
    switch (below(16)) {
      case 0:
      case 1:
      case 2:
        if (!this.isOver[side]) this.say(side, 'PA', '.'.repeat(1 + below(40)));
        return;
      case 3:
      case 4:
        this.say(side, 'A');
        return;
      case 5:
        this.again(side);
        return;
      case 6:
      case 7:
        if (this.isOver[side]) return;
        this.say(side, 'FA');
        this.isOver[side] = true;
        if (this.isOver.w && this.isOver.e) {
          this.say(side === 'w' ? 'e' : 'w', 'A');
          this.end('w', 'e');
        }
        return;
      case 8:
        if (side === 'w') flow.client(pick(['R', 'RA']));
        else flow.server(pick(['R', 'RA']));
        this.end(side === 'w' ? 'e' : 'w');
        return;
      case 9: // at which a server that has the connection says where it is
        flow.client('R', { at: flow.clientNext + 1 + below(1000) }).server('A');
        return;
      case 10:
        flow.client('R', { at: flow.clientNext + (1 << 28) + below(1 << 30), tags: ['forged'] });
        return;
      case 11:
        flow.client(pick(['', 'F', 'SF', 'SR', 'FPU', 'SFA', 'P']), { at: flow.clientNext });
        return;
      case 12: // a client that has forgotten, and is told by the server's challenge
        flow
          .client('S', { at: flow.clientNext + 100_000 + below(1_000_000) })
          .server('A')
          .client('R');
        this.end('e');
        return;
      default:
        this.error();
    }
  }
}

/** So many steps over some connections in each family, with datagrams between. */
export function walk(seed: number, steps: number): Stimulus[] {
  const all: Stimulus[] = [];
  const random = randomOf(seed);
  const { below, pick } = random;
  const walkers = families.flatMap((family) =>
    Array.from({ length: 4 }, (_, nth) => {
      const flow = new Flow(all, `walk ${seed}, connection ${nth}`, family, 'tcp', 30_000 + (seed % 1000) * 10 + nth);
      return new Walker(random, flow, family);
    }),
  );
  const datagrams = families.map((family) => {
    const flow = new Flow(all, `walk ${seed}, datagrams`, family, 'udp', 30_000 + (seed % 1000) * 10);
    return { flow: flow.client(), family };
  });
  for (let step = 0; step < steps; step++) {
    const { flow, family } = pick(datagrams);
    const names = Object.keys(errors[family]);
    const [from, name, quoted] = [below(2) === 0 ? 'w' : 'e', pick(names), pick(quotings)] as const;
    const kind = below(30);
    if (kind > 2) pick(walkers).step();
    else if (kind === 0) flow.error(from, 'router', name, quoted);
    else if (from === 'w') flow.client();
    else flow.server();
  }
  return all;
}
