// Whether the files that checks and hooks name are there: a program that cannot be started makes no server look bad, so
// without a word at the start nobody would know why it is never checked.

import { accessSync, constants } from 'node:fs';
import type { ConfigProblem } from '../base/errors.ts';
import type { CheckKind, CheckPlan } from '../config/check.ts';
import type { Config } from '../config/config.ts';
import { type Finding, type Path, positionsOf } from '../config/positions.ts';
import { serverPath } from '../config/server-path.ts';

/** Warnings, each with its place. */
export function findMissingFiles(config: Config): ConfigProblem[] {
  const findings = [
    ...config.services.flatMap((service) => [
      ...missingOf(service.check, ['services', service.name, 'check']),
      ...service.servers.flatMap((server) =>
        missingOf(server.check ?? null, [...serverPath(service, server), 'check']),
      ),
    ]),
    ...config.notify.flatMap((hook, index) =>
      hook.type === 'exec' ? missing(hook.command[0] ?? '', 'run', ['notify', index]) : [],
    ),
  ];
  return positionsOf(config).locate(findings);
}

function missingOf(plan: CheckPlan | null, path: Path): Finding[] {
  return (plan?.checks ?? []).flatMap(({ kind }) => {
    if (kind.type === 'exec') return missing(kind.command[0] ?? '', 'run', path);
    const authorities = authoritiesOf(kind);
    return authorities === null ? [] : missing(authorities, 'read', path);
  });
}

function authoritiesOf(kind: CheckKind): string | null {
  return kind.type === 'http' || kind.type === 'content' ? (kind.tls?.ca ?? null) : null;
}

function missing(file: string, use: 'run' | 'read', path: Path): Finding[] {
  try {
    accessSync(file, use === 'run' ? constants.X_OK : constants.R_OK);
    return [];
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'is not there'
        : `cannot be ${use === 'run' ? 'run' : 'read'}`;
    return [{ path, elsewhere: [['defaults', 'check']], on: 'key', message: `${file} ${why}`, severity: 'warning' }];
  }
}
