// From checks as written to plans: what a check leaves out comes from `defaults.check`, then from its type. Timers are
// taken over always; the rest only by a check of the same type, since a path means nothing to a ping.

import type { CheckConfig, CheckKind, CheckPath, CheckPlan, CheckType, TlsOptions } from './check.ts';
import { protocolOf } from './check-port.ts';
import { type CheckDraft, type CheckKey, KEYS_OF, type OneCheckDraft } from './check-shape.ts';
import type { Listen, Method } from './config.ts';
import { isDsr } from './dsr-rules.ts';
import type { Finding, Path } from './positions.ts';

export interface BuiltPlan {
  readonly plan: CheckPlan | null;
  readonly findings: readonly Finding[];
}

/** What the clients of the service that is checked meet. */
export interface Clients {
  readonly method: Method;
  readonly listens: readonly Listen[];
}

/** The plan of a service or server that names one; `path` is where. */
export function buildPlan(
  own: CheckDraft | undefined,
  general: CheckDraft | undefined,
  clients: Clients,
  path: Path,
): BuiltPlan {
  if (own === undefined || own === 'none') return { plan: null, findings: [] };
  const base = generalCheck(general);
  const paths = own.checks.map((_, index) => pathOf(own.mode, path, index));
  const findings = own.checks.flatMap((draft, index) => checkKeys(draft, base, paths[index] ?? path));
  const checks = own.checks.map((draft) => buildCheck(draft, base, clients));
  return { plan: { mode: own.mode === 'any' ? 'any' : 'all', checks }, findings };
}

/**
 * The plan of a service that names none: that of `defaults`, or a TCP connect every 2 s. A service without TCP has none
 * by itself, unless `defaults` names a port to connect to or a type that needs no TCP.
 */
export function usualPlan(general: CheckDraft | undefined, clients: Clients): CheckPlan | null {
  if (general === 'none') return null;
  const drafts = general?.checks ?? [{}];
  const isTcp = clients.listens.some(({ protocol }) => protocol === 'tcp');
  const isFor = ({ port, type = 'tcp' }: OneCheckDraft): boolean => port !== undefined || !NEED_TCP.includes(type);
  if (!isTcp && !drafts.every(isFor)) return null;
  const checks = drafts.map((draft) => buildCheck(draft, {}, clients));
  return { mode: general?.mode === 'any' ? 'any' : 'all', checks };
}

const NEED_TCP: readonly CheckType[] = ['tcp', 'tcp-half-open', 'http', 'https', 'content', 'agent'];

/** What is wrong with the keys of `defaults.check`, once for all services. */
export function checkDefaultKeys(general: CheckDraft | undefined): Finding[] {
  if (general === undefined || general === 'none') return [];
  const path = ['defaults', 'check'];
  return general.checks.flatMap((draft, index) => checkKeys(draft, {}, pathOf(general.mode, path, index)));
}

/** Where the check at `index` of a plan stands in the file. */
export function pathOf(mode: Exclude<CheckDraft, 'none'>['mode'], path: Path, index: number): Path {
  if (mode === 'one') return path;
  return mode === 'list' ? [...path, index] : [...path, mode, index];
}

/** A plan in `defaults` is taken whole or not at all; a single check lends what others leave out. */
function generalCheck(general: CheckDraft | undefined): OneCheckDraft {
  return general === undefined || general === 'none' || general.mode !== 'one' ? {} : (general.checks[0] ?? {});
}

const TIMERS = ['every', 'fast-every', 'timeout', 'rise', 'fall'] as const;

function typeOf(own: OneCheckDraft, general: OneCheckDraft): CheckType {
  return own.type ?? general.type ?? 'tcp';
}

function merge(own: OneCheckDraft, general: OneCheckDraft): OneCheckDraft {
  if (typeOf(own, general) === typeOf(general, general)) return { ...general, ...own };
  return { ...Object.fromEntries(TIMERS.map((key) => [key, general[key]])), ...own };
}

function buildCheck(own: OneCheckDraft, general: OneCheckDraft, clients: Clients): CheckConfig {
  const written = merge(own, general);
  const type = typeOf(own, general);
  const everyMs = written.every ?? 2000;
  return {
    kind: buildKind(type, written),
    port: written.port ?? null,
    target: decidePath(type, written, clients),
    everyMs,
    fastEveryMs: written['fast-every'] ?? everyMs,
    timeoutMs: written.timeout ?? Math.min(1000, everyMs),
    rise: written.rise ?? 2,
    fall: written.fall ?? 3,
  };
}

/** Kinds that ask the server itself: no client sends it an echo, and a program goes its own way. */
const ASK_SERVER: readonly CheckType[] = ['icmp', 'exec'];

/**
 * With direct server return a check goes where clients go, unless it is for a port that no client of the service uses: the
 * server may well listen there at its own address only. With nat and full-nat both paths bring the server the same packet.
 */
function decidePath(type: CheckType, { target, port }: OneCheckDraft, { method, listens }: Clients): CheckPath {
  if (!isDsr({ method }) || ASK_SERVER.includes(type)) return 'server';
  if (target !== undefined) return target;
  const isClientsPort = listens.some(
    (listen) =>
      listen.protocol === protocolOf(type) &&
      (port === undefined || (listen.firstPort <= port && port <= listen.lastPort)),
  );
  return isClientsPort ? 'vip' : 'server';
}

function buildKind(type: CheckType, written: OneCheckDraft): CheckKind {
  switch (type) {
    case 'http':
    case 'https':
      return {
        type: 'http',
        method: written.method ?? 'GET',
        path: written.path ?? '/',
        host: written.host ?? null,
        headers: Object.entries(written.headers ?? {}),
        status: written.status?.flat() ?? [{ first: 200, last: 399 }],
        body: written.body ?? null,
        tls: buildTls(written, type === 'https'),
      };
    case 'content':
      return {
        type,
        send: written.send ?? null,
        // Missing is a finding; this stands in until then.
        expect: written.expect ?? { written: '', isRegExp: false },
        tls: buildTls(written, false),
      };
    case 'udp':
      return { type, send: written.send ?? '', expect: written.expect ?? null };
    case 'dns':
      return {
        type,
        name: written.name ?? '.',
        record: written.record ?? (written.name === undefined ? 'NS' : 'A'),
        rcodes: written.rcode ?? ['NOERROR'],
        answer: written.answer ?? null,
      };
    case 'exec':
      return { type, command: written.command ?? [], reports: written.reports ?? false };
    case 'agent':
      return { type, send: written.send ?? null };
    default:
      return { type };
  }
}

function buildTls(written: OneCheckDraft, isUsual: boolean): TlsOptions | null {
  if (!(written.tls ?? isUsual)) return null;
  return {
    sni: written.sni ?? null,
    verify: written.verify ?? true,
    ca: written.ca ?? null,
    warnDays: written['warn-days'] ?? 14,
  };
}

function checkKeys(own: OneCheckDraft, general: OneCheckDraft, path: Path): Finding[] {
  const type = typeOf(own, general);
  const written = merge(own, general);
  const keys = Object.keys(own) as CheckKey[];
  const at = (key: CheckKey): Path => [...path, key];
  const findings: Finding[] = keys
    .filter((key) => own[key] !== undefined && !KEYS_OF[type].includes(key))
    .map((key) => ({
      path: at(key),
      on: 'key',
      message: `"${key}" does not belong to a check of type ${type}`,
      hint: typesHint(key),
    }));
  const lacks = (key: CheckKey, hint: string): void => {
    findings.push({ path, on: 'key', message: `a check of type ${type} needs "${key}"`, hint });
  };
  if (own.target === 'vip' && ASK_SERVER.includes(type)) {
    findings.push({
      path: at('target'),
      message: `a check of type ${type} asks the server itself, not the VIP`,
      hint: 'leave "target" out; tcp, tcp-half-open, http, https, content, agent, udp and dns have it',
    });
  }
  if (type === 'content' && written.expect === undefined) lacks('expect', 'write the text that must come');
  if (type === 'agent' && written.port === undefined) lacks('port', 'an agent has a port of its own');
  if (type === 'exec' && written.command === undefined)
    lacks('command', 'write it like command: [/usr/local/bin/probe, argument]');
  const [program] = own.command ?? [];
  if (program !== undefined && !program.startsWith('/')) {
    findings.push({
      path: at('command'),
      message: `"${program}" is no absolute path`,
      hint: 'write where the program lies',
    });
  }
  if (!(written.tls ?? type === 'https')) {
    const idle = (['sni', 'verify', 'ca', 'warn-days'] as const).find((key) => own[key] !== undefined);
    if (idle !== undefined && KEYS_OF[type].includes(idle)) {
      findings.push({ path: at(idle), on: 'key', message: `"${idle}" has no effect without tls: true` });
    }
  }
  if (written.verify === false && own.ca !== undefined) {
    findings.push({ path: at('ca'), on: 'key', message: '"ca" has no effect with verify: false' });
  }
  return findings;
}

function typesHint(key: CheckKey): string {
  const types = Object.entries(KEYS_OF).flatMap(([type, keys]) => (keys.includes(key) ? [type] : []));
  return `${types.join(', ')} ${types.length === 1 ? 'has' : 'have'} it`;
}
