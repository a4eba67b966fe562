// Every error that an operator meets: one class, a code that decides the command's exit status, and where there is one
// the mend in words. A ConfigError carries all problems of a file at once and prints each with its source line.

/** Exit status of the command for each kind of failure; success is 0. */
const EXIT_CODES = {
  failed: 1,
  usage: 2,
  config: 3,
  unreachable: 4,
  'not-found': 5,
  timeout: 6,
  refused: 7,
} as const;

export type ErrorCode = keyof typeof EXIT_CODES;

export interface FairleadErrorOptions extends ErrorOptions {
  /** What the operator can do about it, as a sentence without a full stop. */
  readonly mend?: string;
}

export class FairleadError extends Error {
  override readonly name: string = 'FairleadError';
  readonly code: ErrorCode;
  // Declared only, so that an error without a mend has no such property.
  declare readonly mend?: string;

  constructor(code: ErrorCode, message: string, options: FairleadErrorOptions = {}) {
    super(message, options);
    this.code = code;
    if (options.mend !== undefined) this.mend = options.mend;
  }
}

/** Exit status for anything that was thrown; what is not a FairleadError is a plain failure. */
export function exitCodeOf(error: unknown): number {
  return error instanceof FairleadError ? EXIT_CODES[error.code] : EXIT_CODES.failed;
}

export interface ConfigProblem {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  /** 1-based; 0 when the problem is about the file as a whole. */
  readonly line: number;
  /** 1-based, counted in characters; 0 when the problem is about the file as a whole. */
  readonly column: number;
  readonly message: string;
  /** The line as it stands in the file, empty when line is 0. */
  readonly sourceLine: string;
  /** The mend, printed after the message and a semicolon: `did you mean "scheduler"?`. */
  readonly hint?: string;
}

export class ConfigError extends FairleadError {
  override readonly name = 'ConfigError';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super('config', problems.map(formatConfigProblem).join('\n'));
    this.problems = problems;
  }

  override toString(): string {
    return this.message;
  }
}

/**
 * Prints one problem: place, message and hint on the first line, then the source line with a caret under the column.
 *
 *     fairlead.yaml:7:5: unknown key "shceduler"; did you mean "scheduler"?
 *         7 |     shceduler: wlc
 *           |     ^
 */
export function formatConfigProblem(problem: ConfigProblem): string {
  const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}:${problem.column}`;
  const kind = problem.severity === 'warning' ? 'warning: ' : '';
  const head = `${place}: ${kind}${problem.message}${problem.hint === undefined ? '' : `; ${problem.hint}`}`;
  if (problem.line === 0) return head;
  // The caret's indent repeats the line's tabs, so that it lands below its character whatever a tab is worth.
  const indent = problem.sourceLine.slice(0, problem.column - 1).replaceAll(/[^\t]/g, ' ');
  const number = String(problem.line).padStart(5);
  const margin = ' '.repeat(number.length);
  return `${head}\n${number} | ${problem.sourceLine}\n${margin} | ${indent}^`;
}
