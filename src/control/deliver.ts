// How a hook is told of an event: a program gets it as JSON on its standard input, a web server as the body of a POST.
// Exit code 0 and status 2xx mean "taken".

import { spawn } from 'node:child_process';
import type { Deliver } from './notify.ts';
import type { HappenedEvent } from './events.ts';

const WITHIN_MS = 10_000;

export const deliverEvent: Deliver = (hook, event, signal) =>
  hook.type === 'exec' ? runHook(hook.command, event, signal) : postHook(hook.url, event, signal);

function runHook(command: readonly string[], event: HappenedEvent, signal: AbortSignal): Promise<void> {
  const [program = '', ...rest] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
      env: {
        ...process.env,
        FAIRLEAD_EVENT: event.kind,
        FAIRLEAD_SERVICE: event.service ?? '',
        FAIRLEAD_SERVER: event.server ?? '',
        FAIRLEAD_REASON: event.reason,
      },
    });
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    };
    const timer = setTimeout(kill, WITHIN_MS);
    signal.addEventListener('abort', kill, { once: true });
    const settle = (trouble: string | null): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', kill);
      if (trouble === null) resolve();
      else reject(new Error(trouble));
    };
    // A program may end without reading.
    child.stdin.on('error', () => undefined);
    child.stdin.end(`${JSON.stringify(event)}\n`);
    child.once('error', (error) => settle(error.message));
    child.once('exit', (code, ending) =>
      settle(code === 0 ? null : code === null ? `it was ended by ${ending ?? 'a signal'}` : `exit code ${code}`),
    );
  });
}

async function postHook(url: string, event: HappenedEvent, signal: AbortSignal): Promise<void> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': event.id },
    body: JSON.stringify(event),
    redirect: 'error',
    signal: AbortSignal.any([signal, AbortSignal.timeout(WITHIN_MS)]),
  }).catch((error: unknown) => {
    const { message, cause } = error as Error;
    throw new Error(cause instanceof Error ? cause.message || message : message, { cause: error });
  });
  await answer.body?.cancel();
  if (!answer.ok) throw new Error(`status ${answer.status}`);
}
