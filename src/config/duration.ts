// Durations as an operator writes them: a number and its unit, "500ms", "2s", "10m", "1h". A bare number is refused,
// because half of its readers would take it for seconds and half for milliseconds.

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** Milliseconds, or null when the text is no duration. "1.5s" is one, a fraction of a millisecond is not. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text);
  if (match === null) return null;
  const ms = Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
  const rounded = Math.round(ms);
  // 1.1 × 1000 is not 1100 in floating point, but within a millionth of it.
  return Math.abs(ms - rounded) < 1e-6 * Math.max(1, ms) ? rounded : null;
}

/** The shortest exact writing: 90000 → "90s", 120000 → "2m". */
export function formatDuration(ms: number): string {
  for (const unit of ['h', 'm', 's'] as const) {
    if (ms >= UNIT_MS[unit] && ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`;
  }
  return `${ms}ms`;
}
