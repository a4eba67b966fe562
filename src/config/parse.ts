// A configuration's text → Config, or every problem in it at once: YAML, then the shape of the whole and of each
// service, then defaults, then rules over whatever services could be read.

import { ConfigError } from '../base/errors.ts';
import { buildConfig, buildService } from './build.ts';
import type { Config, ServiceConfig } from './config.ts';
import { checkAcrossServices } from './cross-rules.ts';
import { explainIssues } from './issues.ts';
import { type Finding, fileProblem, makePositions, rememberPositions, sortProblems } from './positions.ts';
import { readYaml } from './read-yaml.ts';
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
  const defaults = fileShape.shape.defaults.safeParse(memberOf(value, 'defaults'));
  const findings = file.success ? checkInterfaces(file.data.interfaces) : explainIssues(file.error.issues);
  const services: ServiceConfig[] = [];
  for (const [name, written] of Object.entries(memberOf(value, 'services') ?? {})) {
    const draft = serviceShape.safeParse(written, { reportInput: true });
    if (!draft.success) findings.push(...explainIssues(draft.error.issues, ['services', name]));
    // Without the defaults nobody knows what the service means: its turn comes when they are mended.
    if (!draft.success || !defaults.success) continue;
    const built = buildService(name, draft.data, defaults.data ?? {});
    findings.push(...built.findings);
    if (built.service === undefined) continue;
    findings.push(...checkService(built.service));
    services.push(built.service);
  }
  findings.push(...checkAcrossServices(services));
  return file.success ? { config: buildConfig(file.data, services), findings } : { findings };
}

/** A member of what was written, even when something else in the file is wrong; undefined when there is no such map. */
function memberOf(value: unknown, key: string): object | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const member: unknown = Object.getOwnPropertyDescriptor(value, key)?.value;
  return typeof member === 'object' && member !== null && !Array.isArray(member) ? member : undefined;
}
