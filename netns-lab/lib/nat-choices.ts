// Where fairlead's nat is meant to be other than Linux's own, by name and with the reason. A choice holds for a stimulus
// only if both did exactly what it says.
import { twins } from './twins.ts';
import { errorFrom, isRight, octetsOf, parseFrame, routed } from './packets.ts';
import type { Side, Stimulus } from './stimuli.ts';
import type { Output } from './wire.ts';

export interface Choice {
  name: string;
  why: string;
  holds(stimulus: Stimulus, linux: readonly Output[], fairlead: readonly Output[]): boolean;
}

const across = (side: Side): Side => (side === 'w' ? 'e' : 'w');
const familyOf = ({ frame }: Stimulus) => (frame.readUInt16BE(12) === 0x0800 ? 4 : 6);

/** Was it sent on to the other side, as just this frame, and nothing else? */
function isOnly(outputs: readonly Output[], side: Side, frame: Buffer): boolean {
  const [first] = outputs;
  return outputs.length === 1 && first?.side === side && first.frame.equals(frame);
}

const isTranslated = ({ side, translated }: Stimulus, outputs: readonly Output[]) =>
  isOnly(outputs, across(side), translated);

/** The host forwarded it, as one that belongs to nothing that fairlead knows. */
function isRouted({ side, frame }: Stimulus, outputs: readonly Output[]): boolean {
  return side === 'e' && isOnly(outputs, 'w', routed(frame, twins.macs.out, twins.macs.client));
}

/** The same ICMP error, whoever sends it. */
function isSameError(one: Output | undefined, other: Output | undefined): boolean {
  const anybody = twins.vip[one?.frame.readUInt16BE(12) === 0x0800 ? 4 : 6];
  if (one === undefined || other === undefined || one.side !== other.side) return false;
  return errorFrom(one.frame, anybody).equals(errorFrom(other.frame, anybody));
}

/** Conntrack took it for invalid, and fairlead sent it on. */
const leftToTheEnds =
  (tag: string, side?: Side): Choice['holds'] =>
  (stimulus, linux, fairlead) =>
    stimulus.tags.includes(tag) &&
    stimulus.side === (side ?? stimulus.side) &&
    linux.length === 0 &&
    isTranslated(stimulus, fairlead);

export const choices: readonly Choice[] = [
  {
    name: 'a router keeps its address',
    why: 'Linux makes the VIP of every router behind it, so that no traceroute tells where a way ends',
    holds: (stimulus, linux, fairlead) =>
      stimulus.tags.includes('by-router') &&
      stimulus.side === 'e' &&
      isTranslated(stimulus, fairlead) &&
      isRight(fairlead[0]!.frame) &&
      isSameError(linux[0], fairlead[0]) &&
      linux.length === 1,
  },
  {
    name: 'the box speaks as itself',
    why: 'it is a router, too: Linux says in the name of the VIP that hops ended here',
    holds: (stimulus, linux, fairlead) => {
      const [first] = fairlead;
      if (!stimulus.isAnswered || first === undefined || fairlead.length !== 1 || linux.length !== 1) return false;
      const own = (stimulus.side === 'w' ? twins.near : twins.inside)[familyOf(stimulus)];
      const isOwn = parseFrame(first.frame)?.from === octetsOf(own).toString('hex');
      return isOwn && isRight(first.frame) && isSameError(linux[0], first);
    },
  },
  {
    name: 'an error from the servers’ side is the host’s when no flow can be found for it',
    why: 'it may be about anybody’s; whoever gets it finds no socket that it is about',
    holds: (stimulus, linux, fairlead) =>
      stimulus.tags.includes('of-no-flow') && linux.length === 0 && isRouted(stimulus, fairlead),
  },
  {
    name: 'source quench is no error',
    why: 'nobody heeds it any more (RFC 6633); what Linux translates of it, or drops as it quotes nothing, is the host’s',
    holds: (stimulus, linux, fairlead) =>
      stimulus.tags.includes('source-quench') &&
      linux.length <= 1 &&
      (stimulus.side === 'w' ? fairlead.length === 0 : isRouted(stimulus, fairlead)),
  },
  {
    name: 'windows are the ends’ own',
    why: 'they know them, and a box that does not cannot break a connection by an error of its own; only resets are judged',
    holds: leftToTheEnds('beyond-window'),
  },
  {
    name: 'servers are believed',
    why: 'they are the operator’s own; clients get what they send, whatever its flags',
    holds: leftToTheEnds('odd-flags', 'e'),
  },
  {
    name: 'the server judges what comes before its SYN+ACK',
    why: 'it may have been lost on its way, or be said once more (TCP fast open); no state comes of it',
    holds: leftToTheEnds('too-soon'),
  },
  {
    name: 'a forged reset is dropped also while a connection closes',
    why: 'Linux lets any through once one side has sent its FIN, and does not compare numbers any more',
    holds: (stimulus, linux, fairlead) =>
      stimulus.tags.includes('forged') && isTranslated(stimulus, linux) && fairlead.length === 0,
  },
];
