// A controller with nothing real around it: a plane in memory, a clock moved by hand, checks that answer what the test
// says, a log and events that can be read.

import type { Config } from '../../src/config/config.ts';
import { type ControllerOptions, makeController } from '../../src/control/controller.ts';
import { makeEvents } from '../../src/control/events.ts';
import { makeMemoryPlane, smallCounts } from '../../src/plane/memory-plane.ts';
import { fakeHost, makeFakeClock, makeFakeLog, makeFakeProbe } from './fakes.ts';

type Around = Partial<Pick<ControllerOptions, 'plane' | 'inspect' | 'prepare' | 'keeper'>>;

/** Made, and not started yet. */
export function makeControlled(config: Config, around: Around = {}) {
  const { plane = makeMemoryPlane(smallCounts(4096, 1), 1) } = around;
  const clock = makeFakeClock();
  const checks = makeFakeProbe();
  const { log, lines } = makeFakeLog();
  const events = makeEvents();
  const controller = makeController({
    inspect: () => fakeHost,
    prepare: () => {},
    random: () => 0.5,
    ...around,
    plane,
    config,
    clock,
    probe: checks.probe,
    log,
    events,
  });
  /** Until the first round of checks is over, and committed. */
  const start = async (): Promise<void> => {
    const started = controller.start();
    await clock.advance(0);
    await started;
  };
  return { plane, clock, checks, log, lines, events, controller, start };
}
