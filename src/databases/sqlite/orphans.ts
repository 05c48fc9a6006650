/** Rows whose foreign key has no parent: SQLite accepts them while foreign_keys is off, which is its default. */
import type Database from 'better-sqlite3';
import { quoted } from '../identifiers.ts';
import { countRows } from './count-rows.ts';
import type { SourceTable } from './schema.ts';

/**
 * Counts the rows of `child` without a parent, in short steps. Where any of its columns is NULL there is nothing to find.
 * @param columns the referring columns, in the order of `parentColumns`
 */
export function countOrphans(
  db: Database.Database,
  child: SourceTable,
  columns: string[],
  parent: SourceTable,
  parentColumns: string[],
): Promise<number> {
  const present = columns.map((column) => `t.${quoted(column)} IS NOT NULL`);
  // The unary plus takes the affinity away, so that the parent's is applied, as SQLite does for foreign keys.
  const match = columns.map((column, i) => `p.${quoted(parentColumns[i]!)} = +t.${quoted(column)}`);
  const orphan = `NOT EXISTS (SELECT 1 FROM ${quoted(parent.name)} p WHERE ${match.join(' AND ')})`;
  return countRows(db, child, [...present, orphan].join(' AND '));
}
