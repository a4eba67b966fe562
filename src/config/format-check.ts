// Checks in a few words, for plans, logs and tables: "http GET /healthz", "tcp port 9000".

import type { CheckConfig, CheckKind, CheckPlan } from './check.ts';
import { formatDuration } from './duration.ts';
import { formatPattern } from './pattern.ts';

/** What is asked: "https GET /healthz has "ready"". */
export function formatKind(kind: CheckKind): string {
  switch (kind.type) {
    case 'http': {
      const body = kind.body === null ? '' : ` has ${formatPattern(kind.body)}`;
      return `${kind.tls === null ? 'http' : 'https'} ${kind.method} ${kind.path}${body}`;
    }
    case 'content':
      return `content ${formatPattern(kind.expect)}${kind.tls === null ? '' : ' in TLS'}`;
    case 'udp':
      return kind.expect === null ? 'udp' : `udp ${formatPattern(kind.expect)}`;
    case 'dns':
      return `dns ${kind.name} ${kind.record}`;
    case 'exec':
      return `exec ${kind.command[0]?.split('/').at(-1) ?? ''}`;
    default:
      return kind.type;
  }
}

/** All of it, so that two plans with the same text are the same plan. */
export function formatPlan(plan: CheckPlan | null): string {
  if (plan === null) return 'none';
  const checks = plan.checks.map(formatCheck);
  return checks.length === 1 ? (checks[0] ?? '') : `${plan.mode} of ${checks.map((check) => `(${check})`).join(' ')}`;
}

function formatCheck({ kind, target, port, everyMs, fastEveryMs, timeoutMs, rise, fall }: CheckConfig): string {
  const fast = fastEveryMs === everyMs ? '' : `, fast-every ${formatDuration(fastEveryMs)}`;
  const every = `every ${formatDuration(everyMs)}${fast}, timeout ${formatDuration(timeoutMs)}`;
  return `${formatKind(kind)}${target === 'vip' ? ' at the VIP' : ''}${port === null ? '' : ` port ${port}`} ${every}, rise ${rise}, fall ${fall}${detailsOf(kind)}`;
}

/** What formatKind leaves out, as it stands in the configuration. */
function detailsOf(kind: CheckKind): string {
  const { type: _type, ...details } = kind;
  const text = JSON.stringify(details);
  return text === '{}' ? '' : ` ${text}`;
}
