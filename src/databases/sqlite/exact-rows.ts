/** Reads rows with every value exact: integers as bigint, and texts that are not valid UTF-8 by their bytes. */
import type Database from 'better-sqlite3';
import { mayBeInvalid, textOf } from '../invalid-text.ts';
import type { KeyValue } from '../key.ts';
import { bound } from './bind.ts';

/**
 * @param columns SQL of each value
 * @param from FROM and what follows it, the same rows in the same order each time; one mark for each of `values`, see `marksOf`
 */
export function exactRows(
  db: Database.Database,
  columns: string[],
  from: string,
  values: KeyValue[] = [],
): KeyValue[][] {
  const rows = db
    .prepare(`SELECT ${columns.join(', ')} ${from}`)
    .safeIntegers()
    .raw()
    .all(...bound(values)) as KeyValue[][];
  if (!rows.some((row) => row.some(mayBeInvalid))) return rows;
  const bytes = db
    .prepare(`SELECT ${columns.map((name) => `CAST(${name} AS BLOB)`).join(', ')} ${from}`)
    .raw()
    .all(...bound(values)) as Buffer[][];
  return rows.map((row, r) => row.map((value, c) => (mayBeInvalid(value) ? textOf(bytes[r]![c]!) : value)));
}
