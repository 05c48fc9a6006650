/** A verdict in one line, for failures, Temporal's UI and the terminal. Pure. */
import type { Mismatch, Verdict } from './contract.ts';

const KINDS: Record<Mismatch['kind'], string> = {
  'missing-on-secondary': 'is missing on the secondary',
  'missing-on-primary': 'is missing on the primary',
  different: 'differs',
};

export function mismatchText({ table, key, kind, column, primary, secondary }: Mismatch): string {
  const values =
    column === undefined
      ? ''
      : `, column ${column}: ${primary ?? 'NULL'} on the primary, ${secondary ?? 'NULL'} on the secondary`;
  return `${table} ${key} ${KINDS[kind]}${values}`;
}

/** What was compared, and the first difference by table, key and column where there is one. */
export function verdictLine({ equal, rows, mode, mismatchCount, quarantined, mismatches }: Verdict): string {
  if (equal) return `the databases agree: ${rows} rows ${mode === 'full' ? 'compared in full' : 'sampled'}`;
  const kept = quarantined > 0 ? `, ${quarantined} in quarantine` : '';
  const [first] = mismatches;
  const example = first === undefined ? '' : `; first: ${mismatchText(first)}`;
  return `the databases differ: ${mismatchCount} of ${rows} rows${kept}${example}`;
}
