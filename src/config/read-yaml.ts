// YAML as far as a configuration needs it: maps, lists and scalars. What would let one line mean another one (anchors,
// aliases, merge keys, tags) is refused, so that a value's place in the file is always where it was said.

import { type Document, isScalar, LineCounter, type Node, parseDocument, visit, type YAMLError } from 'yaml';
import type { ConfigProblem } from '../base/errors.ts';
import { problemAt, type Source } from './positions.ts';

export interface YamlText {
  readonly source: Source;
  readonly document: Document;
  /** The plain value; undefined when it cannot be known for certain, and then there are problems. */
  readonly value: unknown;
  readonly problems: readonly ConfigProblem[];
}

export function readYaml(text: string, file: string): YamlText {
  const counter = new LineCounter();
  const source = { file, lines: text.split(/\r?\n/), counter };
  // Keys are compared here (findTwice): the parser's own way compares each with all before it, 5 s for 20,000 servers.
  const options = { lineCounter: counter, prettyErrors: false, strict: true, stringKeys: true, uniqueKeys: false };
  const document: Document = parseDocument(text, options);
  // After the first error the rest would be guesswork.
  const [broken] = document.errors;
  if (broken !== undefined) {
    return { source, document, value: undefined, problems: [syntaxProblem(source, document, broken)] };
  }
  const refused = findRefused(source, document);
  const value: unknown = refused.length > 0 ? undefined : document.toJS();
  return { source, document, value, problems: [...findTwice(source, document), ...refused] };
}

function syntaxProblem(source: Source, document: Document, error: YAMLError): ConfigProblem {
  const offset = error.pos[0];
  const { line } = source.counter.linePos(offset);
  const bracket = /(?<![\w"'.:])\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\](?::[^\s,\]}]+)?/.exec(source.lines[line - 1] ?? '');
  if (bracket !== null) {
    const start = (source.counter.lineStarts[line - 1] ?? 0) + bracket.index;
    return problemAt(source, start, 'brackets start a list in YAML', `quote the address: "${bracket[0]}"`);
  }
  if (error.code === 'TAB_AS_INDENT') return problemAt(source, offset, 'a tab indents this line', 'use spaces');
  if (error.code === 'MULTIPLE_DOCS') return problemAt(source, offset, 'a second document starts here', 'keep one');
  const quote = error.message.startsWith('Missing closing') ? findOpenQuote(document, offset) : undefined;
  if (quote !== undefined) return problemAt(source, quote, 'this quote is never closed');
  return problemAt(
    source,
    offset,
    `this is not YAML: ${error.message.charAt(0).toLowerCase()}${error.message.slice(1)}`,
  );
}

/** Where the last quoted text before `end` starts: of one that is never closed the parser names only the end. */
function findOpenQuote(document: Document, end: number): number | undefined {
  let start: number | undefined;
  visit(document, {
    Scalar: (_key, node) => {
      const from = node.range?.[0] ?? end;
      if (node.type?.startsWith('QUOTE_') && from < end) start = from;
    },
  });
  return start;
}

function findTwice(source: Source, document: Document): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  visit(document, {
    Map: (_key, node) => {
      const seen = new Set<unknown>();
      for (const { key } of node.items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value))
          problems.push(problemAt(source, key.range?.[0] ?? 0, `"${String(key.value)}" is given twice`));
        seen.add(key.value);
      }
    },
  });
  return problems;
}

function findRefused(source: Source, document: Document): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const refuse = (node: Node, message: string, hint?: string): void => {
    problems.push(problemAt(source, node.range?.[0] ?? 0, message, hint));
  };
  const hint = 'write the values out, or use "defaults"';
  visit(document, {
    Alias: (_key, node) => refuse(node, `alias *${node.source} is not allowed here`, hint),
    Pair: (_key, pair) => {
      if (!isScalar(pair.key)) return;
      if (pair.key.value === '<<') refuse(pair.key, 'merge key << is not allowed here', hint);
      // Plain objects cannot hold this key like any other.
      if (pair.key.value === '__proto__') refuse(pair.key, '"__proto__" cannot be a key');
    },
    Value: (_key, node) => {
      if (node.anchor !== undefined) refuse(node, `anchor &${node.anchor} is not allowed here`, hint);
      if (node.tag !== undefined)
        refuse(node, `tag ${node.tag.replace('tag:yaml.org,2002:', '!!')} is not allowed here`, 'leave it out');
    },
  });
  return problems;
}
