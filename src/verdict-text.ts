/** A verdict in one line, for failures, Temporal's UI and the terminal. Pure. */
import type { Mismatch, SchemaFinding, Verdict } from './contract.ts';

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

export function schemaText({ table, what }: SchemaFinding): string {
  return `${table}: ${what}`;
}

/** How much differs, of which kind. */
export function differencesText({ mismatchCount, schemaCount, quarantined }: Verdict): string {
  const counts = [
    ...(mismatchCount > 0 || schemaCount + quarantined === 0
      ? [`${mismatchCount.toLocaleString('en-US')} ${plural('difference', mismatchCount)}`]
      : []),
    ...(schemaCount > 0
      ? [`${schemaCount.toLocaleString('en-US')} ${plural('deviation', schemaCount)} of the schema`]
      : []),
    ...(quarantined > 0 ? [`${quarantined} in quarantine`] : []),
  ];
  return counts.join(', ');
}

function plural(noun: string, count: number): string {
  return count === 1 ? noun : `${noun}s`;
}

/** What was compared, and the first difference by table, key and column, or the first of the schema. */
export function verdictLine(verdict: Verdict): string {
  const { equal, rows, mode, mismatches, schema } = verdict;
  if (equal) return `the databases agree: ${rows} rows ${mode === 'full' ? 'compared in full' : 'sampled'}`;
  const [example] = [...mismatches.map(mismatchText), ...schema.map(schemaText)];
  return `the databases differ: ${differencesText(verdict)}, ${rows} rows compared${example === undefined ? '' : `; first: ${example}`}`;
}
