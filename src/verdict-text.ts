/** What a verdict says, and in one line, for failures, Temporal's UI and the terminal. Pure. */
import { count, counted } from './counts.ts';
import type { Mismatch, SchemaFinding, Verdict } from './contract.ts';

const KINDS: Record<Mismatch['kind'], string> = {
  'missing-on-secondary': 'is missing on the secondary',
  'missing-on-primary': 'is missing on the primary',
  different: 'differs',
};

export function mismatchText({ table, key, kind, column, primary, secondary }: Mismatch): string {
  const what = `${table} ${key} ${KINDS[kind]}`;
  if (column !== undefined) {
    const values = `${primary ?? 'NULL'} on the primary, ${secondary ?? 'NULL'} on the secondary`;
    return `${what}, column ${column}: ${values}`;
  }
  const row = primary ?? secondary;
  return row === undefined ? what : `${what}; on the other it has ${row}`;
}

export function schemaText({ table, what }: SchemaFinding): string {
  return `${table}: ${what}`;
}

type LaterField = 'schema' | 'schemaCount' | 'undecided';

/** A verdict, also one out of an older history, which knows of rows alone. */
type AnyVerdict = Omit<Verdict, LaterField> & Partial<Pick<Verdict, LaterField>>;

/** Is a row in quarantine all that keeps the databases from being equal? */
export function differsInQuarantineOnly(verdict: AnyVerdict): boolean {
  const { mismatchCount, schemaCount = 0, quarantined, undecided = 0 } = verdict;
  return quarantined > 0 && mismatchCount + schemaCount + undecided === 0;
}

/** How much differs, of which kind. */
export function differencesText(verdict: AnyVerdict): string {
  const { mismatchCount, schemaCount = 0, quarantined, undecided = 0 } = verdict;
  const others = [
    ...(schemaCount > 0 ? [`${counted(schemaCount, 'deviation')} of the schema`] : []),
    ...(quarantined > 0 ? [`${count(quarantined)} in quarantine`] : []),
    ...(undecided > 0 ? [`${counted(undecided, 'change')} not replayed, because nothing replays`] : []),
  ];
  return mismatchCount === 0 && others.length > 0
    ? others.join(', ')
    : [counted(mismatchCount, 'difference'), ...others].join(', ');
}

/** What a repair has done; '' where none was asked for. */
export function healedText({ healedCount }: AnyVerdict): string {
  if (healedCount === undefined) return '';
  return healedCount === 0 ? 'nothing to repair' : `${counted(healedCount, 'row')} repaired`;
}

/** What was compared, and the first difference by table, key and column, or the first of the schema. */
export function verdictLine(verdict: AnyVerdict): string {
  const { equal, rows, mode, mismatches, schema = [] } = verdict;
  const repair = healedText(verdict);
  const repaired = repair === '' ? '' : `, ${repair}`;
  if (equal)
    return `the databases agree: ${rows} rows ${mode === 'full' ? 'compared in full' : 'sampled'}${repaired}`;
  const [example] = [...mismatches.map(mismatchText), ...schema.map(schemaText)];
  return `the databases differ: ${differencesText(verdict)}, ${rows} rows compared${repaired}${example === undefined ? '' : `; first: ${example}`}`;
}
