// A TCP connect check: the handshake must complete in time. Nothing is sent; the connection is closed at once with a FIN,
// which servers take for a client that changed its mind.

import { attempt } from './attempt.ts';
import type { Probe } from './probe.ts';
import { converse } from './stream.ts';
import type { Timers } from './timers.ts';
import { formatMs } from './words.ts';

/** `good` is what it says of a server that answers; what becomes of the connection then is the path's affair. */
export function makeTcpProbe(timers: Timers, good = 'connected'): Probe {
  return (target, signal) =>
    attempt(timers, target, signal, (own) =>
      converse(own, { tls: null }, { onOpen: () => own.ok(`${good} in ${formatMs(own.elapsedMs())}`) }),
    );
}
