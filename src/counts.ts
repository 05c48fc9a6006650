/** Counts as people read them, in the terminal and in Temporal's UI. Pure. */

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** 1234567 → 1,234,567 */
export function count(value: number): string {
  return whole.format(value);
}

/** `3 rows`, `1 row`. */
export function counted(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? '' : 's'}`;
}
