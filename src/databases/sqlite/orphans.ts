/** Rows whose foreign key has no parent: SQLite accepts them while foreign_keys is off, which is its default. */
import type Database from 'better-sqlite3';
import { quoted } from '../identifiers.ts';
import { countRows } from './count-rows.ts';
import type { SourceTable } from './schema.ts';

/**
 * Counts the rows of `child` without a parent, in short steps. Where any of its columns is NULL there is nothing to find.
 * @param columns the referring columns, in the order of `parentColumns`
 * @param match `exact` counts also those that only a collation finds a parent for
 */
export function countOrphans(
  db: Database.Database,
  child: SourceTable,
  columns: string[],
  parent: SourceTable,
  parentColumns: string[],
  match: 'as-sqlite' | 'exact' = 'as-sqlite',
): Promise<number> {
  const present = columns.map((column) => `t.${quoted(column)} IS NOT NULL`);
  // The unary plus takes the affinity away, so that the parent's is applied, as SQLite does for foreign keys.
  const equal = columns.map((column, i) => `p.${quoted(parentColumns[i]!)} = +t.${quoted(column)}`);
  // Beside the comparison that the parent's index serves.
  const conditions = match === 'exact' ? [...equal, ...equal.map((same) => `${same} COLLATE BINARY`)] : equal;
  const orphan = `NOT EXISTS (SELECT 1 FROM ${quoted(parent.name)} p WHERE ${conditions.join(' AND ')})`;
  return countRows(db, child, [...present, orphan].join(' AND '));
}
