// How a hook is told of an event: a program gets it as JSON on its standard input, a web server as the body of a POST.
// Exit code 0 and status 2xx mean "taken".

import { spawn } from 'node:child_process';
import { request as requestPlain } from 'node:http';
import { request as requestTls } from 'node:https';
import { endGroup } from '../base/end-group.ts';
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
    const kill = (): void => endGroup(child.pid);
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

/** Not fetch(), which refuses a list of ports that browsers must not be led to. */
function postHook(url: string, event: HappenedEvent, signal: AbortSignal): Promise<void> {
  const body = JSON.stringify(event);
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'idempotency-key': event.id,
  };
  const within = AbortSignal.any([signal, AbortSignal.timeout(WITHIN_MS)]);
  const request = url.startsWith('https:') ? requestTls : requestPlain;
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'POST', headers, agent: false, signal: within }, (answer) => {
      // What it says does not matter, but unread it would hold the connection.
      answer.resume();
      const { statusCode = 0 } = answer;
      if (statusCode >= 200 && statusCode < 300) resolve();
      else reject(new Error(`status ${statusCode}`));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}
