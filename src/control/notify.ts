// Tells hooks of events: each hook has a queue of its own, in order, one delivery at a time, tried again until it works.
// So every event is told at least once, and twice when an answer was lost. The queue is bounded; what is not told yet
// outlives a restart in the state file.

import { isDeepStrictEqual } from 'node:util';
import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { NotifyConfig } from '../config/config.ts';
import type { HappenedEvent } from './events.ts';

/** Rejects in words when the event was not taken. */
export type Deliver = (hook: NotifyConfig, event: HappenedEvent, signal: AbortSignal) => Promise<void>;

export interface NotifierOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly deliver: Deliver;
  /** What waits has changed. */
  readonly onQueue: () => void;
}

export interface HookState {
  readonly hook: string;
  readonly waiting: number;
  readonly delivered: number;
  readonly dropped: number;
  readonly failures: number;
}

export interface Notifier {
  /** Hooks that stay keep their queues; `left` gives new ones what a predecessor could not tell. */
  setHooks(hooks: readonly NotifyConfig[], left?: Readonly<Record<string, readonly unknown[]>>): void;
  tell(event: HappenedEvent): void;
  /** By hook. */
  undelivered(): Record<string, HappenedEvent[]>;
  states(): HookState[];
  stop(): void;
}

export const QUEUE_LIMIT = 1000;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

interface Queue {
  readonly hook: NotifyConfig;
  waiting: HappenedEvent[];
  isBusy: boolean;
  retryMs: number;
  retry: Timer | null;
  delivered: number;
  dropped: number;
  failures: number;
  readonly stopping: AbortController;
}

export function makeNotifier({ clock, log, deliver, onQueue }: NotifierOptions): Notifier {
  let queues: Queue[] = [];

  const work = async (queue: Queue): Promise<void> => {
    const [event] = queue.waiting;
    if (event === undefined || queue.isBusy || queue.retry !== null || queue.stopping.signal.aborted) return;
    queue.isBusy = true;
    try {
      await deliver(queue.hook, event, queue.stopping.signal);
      queue.delivered++;
      queue.retryMs = FIRST_RETRY_MS;
      // It may have been dropped for newer ones meanwhile.
      queue.waiting = queue.waiting.filter((other) => other !== event);
      onQueue();
    } catch (error) {
      if (queue.stopping.signal.aborted) return;
      queue.failures++;
      log.warn(`${nameHook(queue.hook)} was not told of ${event.kind}: ${(error as Error).message}; trying again`);
      queue.retry = clock.setTimer(queue.retryMs, () => {
        queue.retry = null;
        void work(queue);
      });
      queue.retryMs = Math.min(LONGEST_RETRY_MS, 2 * queue.retryMs);
    } finally {
      queue.isBusy = false;
    }
    void work(queue);
  };

  const add = (queue: Queue, event: HappenedEvent): void => {
    queue.waiting.push(event);
    if (queue.waiting.length > QUEUE_LIMIT) {
      if (queue.dropped === 0)
        log.warn(`${nameHook(queue.hook)} is ${QUEUE_LIMIT} events behind: the oldest are dropped`);
      queue.waiting.shift();
      queue.dropped++;
    }
    void work(queue);
  };

  const end = ({ stopping, retry }: Queue): void => {
    stopping.abort();
    retry?.cancel();
  };

  return {
    setHooks: (hooks, left = {}) => {
      const before = queues;
      queues = hooks.map((hook) => before.find((queue) => isDeepStrictEqual(queue.hook, hook)) ?? makeQueue(hook));
      for (const queue of before) if (!queues.includes(queue)) end(queue);
      for (const queue of queues) {
        for (const event of left[formatHook(queue.hook)] ?? []) add(queue, event as HappenedEvent);
      }
    },
    tell: (event) => {
      for (const queue of queues) add(queue, event);
      if (queues.length > 0) onQueue();
    },
    undelivered: () =>
      Object.fromEntries(
        queues.flatMap(({ hook, waiting }) => (waiting.length === 0 ? [] : [[formatHook(hook), [...waiting]]])),
      ),
    states: () =>
      queues.map(({ hook, waiting, delivered, dropped, failures }) => ({
        hook: nameHook(hook),
        waiting: waiting.length,
        delivered,
        dropped,
        failures,
      })),
    stop: () => {
      for (const queue of queues) end(queue);
    },
  };
}

/** For people and metrics: an address may hold a secret, so only where it leads is named. */
function nameHook(hook: NotifyConfig): string {
  return hook.type === 'exec' ? `exec ${hook.command[0] ?? ''}` : `webhook ${new URL(hook.url).host}`;
}

/** All of it, to find its queue again. */
function formatHook(hook: NotifyConfig): string {
  return hook.type === 'exec' ? `exec ${hook.command.join(' ')}` : `webhook ${hook.url}`;
}

function makeQueue(hook: NotifyConfig): Queue {
  return {
    hook,
    waiting: [],
    isBusy: false,
    retryMs: FIRST_RETRY_MS,
    retry: null,
    delivered: 0,
    dropped: 0,
    failures: 0,
    stopping: new AbortController(),
  };
}
