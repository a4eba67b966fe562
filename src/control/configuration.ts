// A configuration becomes one to run: loaded, checked against the host, and on a reload against what is running.

import { ConfigError, type ConfigProblem, FairleadError, formatConfigProblem } from '../base/errors.ts';
import type { Config } from '../config/config.ts';
import { checkAgainstHost } from '../config/host-check.ts';
import type { HostView } from '../config/host-view.ts';
import { interfaceNames } from './desired.ts';
import { fixedChanges } from './plan.ts';
import { findMissingFiles } from './programs.ts';

/** Throws ConfigError when the configuration cannot run on this host; returns warnings, each with its place. */
export function checkOnHost(config: Config, host: HostView): string[] {
  return problemsOnHost(config, host).map(formatConfigProblem);
}

/** The same warnings as they are, for who shows them otherwise. */
export function problemsOnHost(config: Config, host: HostView): ConfigProblem[] {
  const problems = checkAgainstHost(config, host);
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(problems);
  return [...problems, ...findMissingFiles(config)];
}

/** A configuration that may take a running one's place. */
export interface Replacement {
  readonly config: Config;
  readonly warnings: readonly string[];
}

/** Reads what is to replace the running configuration, and checks it. Throws FairleadError. */
export type LoadReplacement = (before: Config, host: HostView) => Replacement | Promise<Replacement>;

/**
 * The same for a configuration that is to replace a running one. A link that is down or gone at the moment is no reason
 * to refuse what else has changed: the interfaces are in use already.
 */
export function makeReplacement(before: Config, after: Config, host: HostView): Replacement {
  const fixed = fixedChanges(before, after);
  if (fixed.length > 0) {
    throw new FairleadError('refused', `${fixed.join(', ')} cannot change while fairlead runs; nothing was applied`, {
      mend: 'restart fairlead for that: established flows live on as long as name, bpffs, flows and workers stay',
    });
  }
  const gone = interfaceNames(after).filter((name) => !host.links.some((link) => link.name === name));
  const links = [...host.links, ...gone.map((name) => ({ name, index: 0, mac: '', mtu: 0, isUp: true }))];
  const warnings = checkOnHost(after, { ...host, links: links.map((link) => ({ ...link, isUp: true })) });
  return { config: after, warnings };
}
