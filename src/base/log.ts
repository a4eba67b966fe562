// One logger for the process: JSON lines on stdout, for whoever runs the daemon (systemd, a container) to keep.
// Modules get it, or a child of it, handed in; pure ones get none.

import { type Logger as PinoLogger, pino } from 'pino';

export type Logger = PinoLogger;

/** Levels by name and times in ISO 8601: read by people first. `instance` stands in every line. */
export function makeLogger(level: string, instance: string): Logger {
  return pino(
    {
      level,
      base: { instance },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous: the last lines before a crash are the ones that matter, and there are few in service.
    pino.destination({ dest: 1, sync: true }),
  );
}
