// The clients that services remember, as lines of JSON: see flow-stream.ts.

import type { ControlState } from '../control/state.ts';
import { formatEndpoint } from '../net/address.ts';
import { formatPrefix } from '../net/prefix.ts';
import type { Plane } from '../plane/plane.ts';
import { readStickies, type StickyRecord } from '../plane/sticky-reader.ts';
import { filterOf, type FlowQuery, lines, type Owner, slotOwners } from './flow-stream.ts';

export interface StickyView {
  readonly service: string;
  readonly server: string;
  /** An address, a prefix, or an address and port. */
  readonly client: string;
  readonly address: string;
  /** Since the client last began or ended a flow. */
  readonly idleMs: number;
  readonly expiresInMs: number;
}

/** Lines, some hundred to a chunk. Throws not-found at once for a service that is not there. */
export function streamStickies(plane: Plane, state: ControlState, query: FlowQuery): AsyncGenerator<string> {
  const owners = slotOwners(state);
  const batches = readStickies(plane, filterOf(state, owners, query));
  return lines(batches, query.limit ?? Number.POSITIVE_INFINITY, (record) =>
    viewSticky(record, owners.get(record.serverSlot)),
  );
}

function viewSticky(record: StickyRecord, owner: Owner | undefined): StickyView {
  const { client, clientPort, server, serverPort, idleMs, expiresInMs } = record;
  const isWhole = client.length === 8 * client.address.bytes.length;
  return {
    service: owner?.service ?? '?',
    server: owner?.server ?? '?',
    client:
      clientPort === null
        ? isWhole
          ? client.address.text
          : formatPrefix(client)
        : formatEndpoint(client.address, clientPort),
    address: serverPort === null ? server.text : formatEndpoint(server, serverPort),
    idleMs,
    expiresInMs,
  };
}
