// Puts a flow into a plane's table by hand, as the core would.

import { constants, layout, stateNames } from '../../src/native/layout.ts';
import { parseAddress } from '../../src/net/address.ts';
import type { Plane } from '../../src/plane/plane.ts';

export interface WrittenFlow {
  readonly index: number;
  readonly client: string;
  readonly clientPort: number;
  readonly vip?: string;
  readonly server?: string;
  readonly local?: string;
  readonly localPort?: number;
  readonly state?: (typeof stateNames)[number];
  readonly serverSlot?: number;
  readonly generation?: number;
  readonly seen?: number;
  readonly created?: number;
}

const FLOW = layout.fl_flow;

export function writeFlow(plane: Plane, flow: WrittenFlow): void {
  const { index, client, vip = '203.0.113.10', server = '10.0.1.11', local } = flow;
  const at = index * FLOW.octets;
  const view = new DataView(plane.section('flows'));
  const isV6 = client.includes(':');
  const put = (field: 'client' | 'vip' | 'server' | 'local', text: string): void => {
    const [section, offset] = isV6
      ? ([plane.section('flows6'), index * layout.fl_flow6.octets + layout.fl_flow6[field]] as const)
      : ([plane.section('flows'), at + FLOW[field]] as const);
    new Uint8Array(section).set(parseAddress(text)!.bytes, offset);
  };
  put('client', client);
  put('vip', vip);
  put('server', server);
  if (local !== undefined) put('local', local);
  view.setUint16(at + FLOW.client_port, flow.clientPort);
  view.setUint16(at + FLOW.vip_port, 80);
  view.setUint16(at + FLOW.server_port, 8080);
  view.setUint16(at + FLOW.local_port, flow.localPort ?? flow.clientPort);
  view.setUint32(at + FLOW.server_slot, flow.serverSlot ?? 0, true);
  view.setUint32(at + FLOW.server_generation, flow.generation ?? 1, true);
  view.setUint8(at + FLOW.protocol, 6);
  view.setUint8(at + FLOW.flags, (isV6 ? constants.flowV6 : 0) | (local === undefined ? 0 : constants.flowFullNat));
  view.setUint32(at + FLOW.seen, flow.seen ?? 0, true);
  view.setUint32(at + FLOW.created, flow.created ?? 0, true);
  view.setUint32(at + FLOW.control, stateNames.indexOf(flow.state ?? 'established') | (1 << 16), true);
  const tag = 1 + (index % 65_535);
  view.setUint16(at + FLOW.tag, tag, true);
  new Uint16Array(plane.section('tags'))[index] = tag;
}
