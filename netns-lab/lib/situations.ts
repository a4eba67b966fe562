// The situations that a NAT box has to get right, as scripts of two ends, and walks at random over all that they can say.
import { families, type Family } from '../topologies/topology.ts';
import { errors, Flow, type Quoted, type Side, type Speaker, type Stimulus } from './stimuli.ts';

const gigabyte = 1 << 30;
const beyond = { tags: ['beyond-window'] } as const;

type Script = (flow: Flow) => void;

/** Connections, each with ports of its own. */
const connections: Record<string, Script> = {
  'a connection and the next one on its port': (it) =>
    it.open().talk().client('FA').server('FA').client('A').again().open().talk(),
  retransmissions: (it) => {
    it.client('S');
    it.client('S', { at: it.clientNext - 1 });
    it.server('SA');
    it.server('SA', { at: it.serverNext - 1 });
    it.client('A').client('A').client('PA', { payload: 'once' });
    it.client('PA', { at: it.clientNext - 4, payload: 'once' });
    it.server('A').server('PA', { payload: 'twice' });
    it.server('PA', { at: it.serverNext - 5, payload: 'twice' });
    it.client('A').client('A').client('A');
  },
  'a FIN of the client’s said again, and its acknowledgement lost': (it) => {
    it.open().talk().client('FA');
    it.client('FA', { at: it.clientNext - 1 });
    it.server('A').client('FA', { at: it.clientNext - 1 });
    it.server('FA').server('FA', { at: it.serverNext - 1 });
    it.client('A').server('FA', { at: it.serverNext - 1 });
    it.client('A');
  },
  'a FIN of the server’s said again, and data behind': (it) => {
    it.open().talk().server('FA');
    it.server('FA', { at: it.serverNext - 1 });
    it.client('A').client('PA', { payload: 'more' }).server('A').client('FA');
    it.client('FA', { at: it.clientNext - 1 });
    it.server('A');
  },
  'data said again behind a FIN': (it) => {
    it.open().client('PA', { payload: 'once' }).client('FA');
    it.client('PA', { at: it.clientNext - 5, payload: 'once' });
    it.server('A').server('FA').client('A');
  },
  'a simultaneous close': (it) => {
    it.open().talk();
    const [client, server] = [it.clientNext, it.serverNext];
    it.client('FA', { ack: server }).server('FA', { ack: client }).client('A').server('A');
  },
  'a half-closed client that is sent much': (it) => {
    it.open().talk().client('FA').server('A');
    for (let i = 0; i < 5; i++) it.server('PA', { payload: `part ${i}` }).client('A');
    it.server('FA').client('A');
  },
  'a half-closed server that is sent much': (it) => {
    it.open().talk().server('FA').client('A');
    for (let i = 0; i < 5; i++) it.client('PA', { payload: `part ${i}` }).server('A');
    it.client('FA').server('A');
  },
  'a reset by the client': (it) => it.open().talk().client('RA').again().open().talk(),
  'a reset without ACK by the client': (it) => it.open().talk().client('R').again().open().talk(),
  'a reset by the server': (it) => it.open().talk().server('RA').again().open().talk(),
  'a reset without ACK by the server': (it) => it.open().talk().server('R').again().open().talk(),
  'a connection that is refused, and tried again': (it) =>
    it.client('S').server('RA', { at: 0 }).again().client('S').server('RA', { at: 0 }).again().open().talk(),
  'a handshake that the client gives up': (it) => it.client('S').server('SA').client('R').again().open().talk(),
  'a reset a little ahead is answered by a challenge': (it) => {
    it.open()
      .talk()
      .client('R', { at: it.clientNext + 100 })
      .server('A');
    it.client('PA', { payload: 'still here' }).server('A');
    it.client('R').again().open().talk();
  },
  'resets that are forged': (it) => {
    it.open().talk();
    it.client('R', { at: it.clientNext + gigabyte });
    it.client('RA', { at: it.clientNext - gigabyte });
    it.client('R', { at: it.clientNext ^ 0x55555555 });
    it.talk().client('FA').server('FA').client('A');
  },
  'resets that are a little old, or some way ahead': (it) => {
    it.open().talk();
    it.client('R', { at: it.clientNext - 100, ...beyond });
    it.client('R', { at: it.clientNext + 200_000, ...beyond });
    it.talk();
  },
  'resets that are forged while the client closes': (it) => {
    it.open().talk().client('FA').server('A');
    it.client('R', { at: it.clientNext + gigabyte, tags: ['forged'] });
    it.client('R', { at: it.clientNext + 2 * gigabyte, tags: ['forged'] });
    it.server('PA', { payload: 'still here' }).client('A').server('FA').client('A');
  },
  'a reset of the server’s that is forged': (it) => {
    it.open().talk();
    it.server('R', { at: it.serverNext + gigabyte, ...beyond });
    it.talk();
  },
  'a SYN with another number on a connection that stands': (it) => {
    it.open().talk();
    // The server's challenge, at which the client, who has forgotten, resets.
    it.client('S', { at: it.clientNext + 3_000_000 })
      .server('A')
      .client('R');
    it.again().open().talk();
  },
  'a SYN that is an old duplicate on a connection that stands': (it) => {
    const first = it.clientNext;
    it.open().talk();
    it.client('S', { at: first });
    it.server('A').talk();
  },
  'an old duplicate of a SYN when all is over': (it) => {
    const first = it.clientNext;
    it.open().talk().client('FA').server('FA').client('A');
    it.client('S', { at: first });
    it.server('A');
  },
  'a SYN that is repeated with another number': (it) => {
    it.client('S').again(5000).open().talk();
  },
  'SYNs of both ends that cross': (it) => {
    it.client('S')
      .server('S')
      .client('SA', { at: it.clientNext - 1 })
      .server('SA', { at: it.serverNext - 1 });
    it.client('A').server('A').talk();
  },
  'flags that nobody makes, on a connection that stands': (it) => {
    it.open().talk();
    for (const flags of ['', 'F', 'SF', 'SR', 'FPU', 'SFA', 'P', 'U'])
      it.client(flags, { at: it.clientNext, tags: ['odd-flags'] });
    it.talk();
    for (const flags of ['', 'F', 'SF', 'SR', 'FPU', 'SFA', 'P', 'U'])
      it.server(flags, { at: it.serverNext, tags: ['odd-flags'] });
    it.talk();
  },
  'what a client says too soon': (it) => {
    it.client('S');
    it.client('A', { tags: ['too-soon'] });
    it.client('PA', { at: it.clientNext, payload: 'early', tags: ['too-soon'] });
    it.client('FA', { at: it.clientNext, tags: ['too-soon'] });
    it.server('SA').client('A').talk();
  },
  'data beyond the window': (it) => {
    it.open().talk();
    it.client('PA', { at: it.clientNext + gigabyte, payload: 'far', ...beyond });
    it.server('PA', { at: it.serverNext + gigabyte, payload: 'far', ...beyond });
    it.client('A', { ack: it.serverNext + gigabyte, ...beyond });
    it.talk();
  },
  'hops that end here': (it) => {
    it.client('S', { at: it.clientNext, ttl: 1, tags: ['answered'] });
    it.open().client('PA', { at: it.clientNext, payload: 'far', ttl: 1, tags: ['answered'] });
    it.server('PA', { at: it.serverNext, payload: 'far', ttl: 1, tags: ['answered'] });
    it.talk();
  },
};

/** Of no connection: each alone, on a port of its own. */
const lonely = ['A', 'R', 'RA', '', 'FPU', 'SF', 'SR', 'F', 'FA', 'SA', 'PA', 'U', 'SFRPAU'];

const datagrams: Record<string, Script> = {
  'datagrams both ways': (it) => it.client().server().client().client().server().server(),
  'a datagram whose hops end here': (it) =>
    it
      .client('', { ttl: 1, tags: ['answered'] })
      .client()
      .server('', { ttl: 1, tags: ['answered'] })
      .server(),
};

const quotings: readonly Quoted[] = ['all', 'a TCP header', '8 octets', 'no octets'];

/** Every error, of each length, by each who may say it, from both sides; the flow lives on behind each. */
function* errorsOf(family: Family): Generator<[Side, Speaker, string, Quoted]> {
  for (const side of ['e', 'w'] as const) {
    for (const by of ['router', 'end'] as const) {
      for (const name of Object.keys(errors[family])) for (const quoted of quotings) yield [side, by, name, quoted];
    }
  }
}

function scriptErrors(into: Stimulus[], family: Family, port: number): void {
  const tcp = new Flow(into, 'errors about a connection', family, 'tcp', port).open().talk();
  const udp = new Flow(into, 'errors about datagrams', family, 'udp', port).client().server();
  for (const error of errorsOf(family)) {
    tcp.error(...error).client('A');
    udp.error(...error).server();
  }
  tcp.talk().client('FA').server('FA').client('A').error('e', 'router', 'time exceeded', 'all');
  const asked = new Flow(into, 'errors about a SYN', family, 'tcp', port + 1).client('S');
  for (const by of ['router', 'end'] as const) asked.error('e', by, 'port unreachable', 'all');
  asked.server('SA').client('A').talk();
  const reset = new Flow(into, 'errors about a connection that was reset', family, 'tcp', port + 2).open().client('R');
  reset.error('e', 'router', 'time exceeded', '8 octets').error('w', 'end', 'port unreachable', 'all');
  const unknown = new Flow(into, 'errors about nothing known', family, 'tcp', port + 3);
  unknown.error('e', 'router', 'time exceeded', 'all').error('w', 'router', 'time exceeded', 'all');
}

export function situations(): Stimulus[] {
  const all: Stimulus[] = [];
  for (const family of families) {
    let port = 20_000;
    for (const [name, script] of Object.entries(connections)) script(new Flow(all, name, family, 'tcp', port++));
    for (const flags of lonely) {
      const name = `nothing but ${flags || 'no flags'}`;
      new Flow(all, name, family, 'tcp', port++).client(flags).client('A');
    }
    for (const [name, script] of Object.entries(datagrams)) script(new Flow(all, name, family, 'udp', port++));
    scriptErrors(all, family, port);
  }
  return all;
}
