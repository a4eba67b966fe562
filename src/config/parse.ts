// A configuration's text → Config, or every problem in it at once: YAML, then the shape of the whole and of each
// service, then defaults, then rules over whatever services could be read.

import { ConfigError } from '../base/errors.ts';
import { checkDefaultKeys } from './build-check.ts';
import { buildConfig, buildService, type Defaults } from './build.ts';
import type { Config, ServiceConfig } from './config.ts';
import { checkAcrossServices } from './cross-rules.ts';
import { explainIssues } from './issues.ts';
import { type Finding, fileProblem, makePositions, rememberPositions, sortProblems } from './positions.ts';
import { readYaml } from './read-yaml.ts';
import { checkHooks } from './hook-rules.ts';
import { checkInterfaces, checkService } from './rules.ts';
import { fileShape, serviceShape } from './shape.ts';

/** `file` is the name that problems carry. Throws ConfigError with all problems, in the order of the lines. */
export function parseConfig(text: string, file: string): Config {
  const { source, document, value, problems } = readYaml(text.replace(/^\uFEFF/, ''), file);
  if (value === undefined) throw new ConfigError(sortProblems(problems));
  if (value === null) throw new ConfigError([fileProblem(file, 'there is nothing in this file')]);
  const { config, findings } = readConfig(value);
  const positions = makePositions(source, document);
  const all = sortProblems([...problems, ...positions.locate(findings)]);
  if (config === undefined || all.length > 0) throw new ConfigError(all);
  rememberPositions(config, positions);
  return config;
}

function readConfig(value: unknown): { config?: Config; findings: Finding[] } {
  const file = fileShape.safeParse(value, { reportInput: true });
  const defaults = fileShape.shape.defaults.safeParse(mapIn(value).defaults);
  const findings = file.success
    ? [...checkInterfaces(file.data.interfaces), ...checkHooks(file.data.notify ?? [])]
    : explainIssues(file.error.issues);
  if (defaults.success) findings.push(...checkDefaultKeys(defaults.data?.check));
  const services: ServiceConfig[] = [];
  for (const [name, written] of Object.entries(mapIn(mapIn(value).services))) {
    const draft = serviceShape.safeParse(written, { reportInput: true });
    if (!draft.success) findings.push(...explainIssues(draft.error.issues, ['services', name]));
    // Without the defaults nobody knows what the service means: its turn comes when they are mended.
    if (!defaults.success) continue;
    findings.push(...checkMethodIsNamed(name, written, defaults.data ?? {}));
    if (!draft.success) continue;
    const built = buildService(name, draft.data, defaults.data ?? {});
    findings.push(...built.findings, ...checkService(built.service));
    services.push(built.service);
  }
  findings.push(...checkAcrossServices(services));
  return file.success ? { config: buildConfig(file.data, services), findings } : { findings };
}

/** The map that was written, even when something else in the file is wrong; an empty one when there is none. */
function mapIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : {};
}

/** The one key that has no default: it decides what servers and routers around must look like. */
function checkMethodIsNamed(name: string, written: unknown, defaults: Defaults): Finding[] {
  const isMap = typeof written === 'object' && written !== null && !Array.isArray(written);
  if (!isMap || 'method' in written || defaults.method !== undefined) return [];
  const hint = 'use nat (answers must pass through here) or full-nat (works everywhere)';
  return [{ path: ['services', name], on: 'key', message: `service "${name}" names no method`, hint }];
}
