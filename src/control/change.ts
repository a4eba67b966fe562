// One thing that a new configuration changes, in an operator's words.

export interface Change {
  readonly kind: 'added' | 'removed' | 'changed';
  /** "service web", "server web/web-1", "timeouts". */
  readonly what: string;
  /** What becomes of it. */
  readonly words: string;
}

export function formatChange({ what, words }: Change): string {
  return `${what}: ${words}`;
}
