// From zod's issues to findings in an operator's words.

import type { z } from 'zod';
import type { Finding, Path } from './positions.ts';
import { keysAt } from './shape.ts';
import { didYouMean } from './suggest.ts';

type Issue = z.core.$ZodIssue;

/** Needs issues that were made with `reportInput`; `base` is the path of the value that was parsed. */
export function explainIssues(issues: readonly Issue[], base: Path = []): Finding[] {
  const findings = issues.flatMap((issue) => explain(issue, [...base, ...(issue.path as Path)]));
  // A key that is missing only because it is mistyped is one mistake, not two.
  return findings.filter(({ message }) => {
    const missing = /^"(.*)" is missing$/.exec(message)?.[1];
    return missing === undefined || !findings.some(({ hint }) => hint === `did you mean "${missing}"?`);
  });
}

function explain(issue: Issue, path: Path): Finding[] {
  const key = path.findLast((segment) => typeof segment === 'string');
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((word) => explainKey(word, path));
    case 'invalid_key': {
      if (path.at(-2) === 'headers') return [{ path, on: 'key', message: `"${key}" is not a name for a header` }];
      const kind = path.length === 2 ? 'service' : 'server';
      const hint = 'use 1 to 63 of letters, digits, ".", "_" and "-"';
      return [{ path, on: 'key', message: `"${key}" is not a name for a ${kind}`, hint }];
    }
    case 'invalid_union':
      if (issue.input === undefined || issue.input === null || issue.message.startsWith('must')) break;
      return explainIssues(likeliestBranch(issue), path);
    case 'custom': {
      const hint: unknown = issue.params?.hint;
      return [{ path, message: issue.message, ...(typeof hint === 'string' ? { hint } : {}) }];
    }
    default:
  }
  if (key === undefined) return [{ path, message: `the file ${issue.message}, not ${describe(issue.input)}` }];
  if (issue.input === undefined) return [{ path: path.slice(0, -1), on: 'key', message: `"${key}" is missing` }];
  if (issue.input === null) return [{ path, on: 'key', message: `"${key}" has no value` }];
  if (issue.code === 'too_small' && issue.origin === 'array') return [{ path, message: `"${key}" is an empty list` }];
  return [{ path, message: `"${key}" ${issue.message}, not ${describe(issue.input)}` }];
}

function explainKey(word: string, path: Path): Finding {
  const place = { path: [...path, word], on: 'key' } as const;
  const known = keysAt(path);
  const hint = didYouMean(word, known) ?? `known here: ${known.join(', ')}`;
  return { ...place, message: `unknown key "${word}"`, hint };
}

/** In a union "text or map" a map was meant as the last kind; a text is best explained by the kind that tried to read it. */
function likeliestBranch(issue: z.core.$ZodIssueInvalidUnion): readonly Issue[] {
  const [first = [], ...others] = issue.errors;
  if (typeof issue.input === 'object') return others.at(-1) ?? first;
  return issue.errors.find((branch) => branch.some(({ code }) => code === 'custom')) ?? first;
}

function describe(input: unknown): string {
  if (Array.isArray(input)) return 'a list';
  return typeof input === 'object' ? 'a map' : JSON.stringify(input);
}
