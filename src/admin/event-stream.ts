// Events as lines of JSON: the recent ones, and with `follow` each new one as it happens. A reader that does not read is
// cut off at a bound, since the daemon must not grow for it.

import { Readable } from 'node:stream';
import type { Events, HappenedEvent } from '../control/events.ts';

export interface EventsQuery {
  readonly follow?: 'true' | undefined;
  readonly limit?: number | undefined;
}

const BEHIND_OCTETS = 1 << 20;

export function streamEvents(events: Events, { follow, limit }: EventsQuery): Readable {
  // Followers want what comes; the others what was.
  const recent = events.recent(limit ?? (follow === 'true' ? 0 : undefined));
  const stream = new Readable({ read: () => undefined });
  const send = (event: HappenedEvent): void => {
    stream.push(`${JSON.stringify(event)}\n`);
    if (stream.readableLength > BEHIND_OCTETS) stream.destroy();
  };
  for (const event of recent) send(event);
  if (follow !== 'true') {
    stream.push(null);
    return stream;
  }
  stream.once('close', events.follow(send));
  return stream;
}
