/** Rows whose foreign key has no parent: SQLite accepts them while foreign_keys is off, which is its default. */
import type Database from 'better-sqlite3';
import { quoted } from '../identifiers.ts';
import { findRows, type FoundRows } from './find-rows.ts';
import type { SourceTable } from './schema.ts';

/**
 * Finds the rows of `child` without a parent, in short steps. Where any of its columns is NULL there is nothing to find.
 * @param columns the referring columns, in the order of `parentColumns`
 * @param match `folded` finds instead the rows that only a collation finds a parent for
 */
export function findOrphans(
  db: Database.Database,
  child: SourceTable,
  columns: string[],
  parent: SourceTable,
  parentColumns: string[],
  match: 'as-sqlite' | 'folded' = 'as-sqlite',
): Promise<FoundRows> {
  if (match === 'as-sqlite') return findRows(db, child, orphansSql(columns, parent, parentColumns));
  const equal = sameSql(columns, parentColumns);
  // Beside the comparison that the parent's index serves.
  const exact = [...equal, ...equal.map((same) => `${same} COLLATE BINARY`)];
  return findRows(
    db,
    child,
    [...presentSql(columns), parentSql(parent, equal), `NOT ${parentSql(parent, exact)}`].join(' AND '),
  );
}

/** Condition of the rows `t` without a parent, as SQLite compares for a foreign key: with the parent's affinity and collation. */
export function orphansSql(columns: string[], parent: SourceTable, parentColumns: string[]): string {
  return [...presentSql(columns), `NOT ${parentSql(parent, sameSql(columns, parentColumns))}`].join(' AND ');
}

function presentSql(columns: string[]): string[] {
  return columns.map((column) => `t.${quoted(column)} IS NOT NULL`);
}

/** The unary plus takes the affinity away, so that the parent's is applied. */
function sameSql(columns: string[], parentColumns: string[]): string[] {
  return columns.map((column, i) => `p.${quoted(parentColumns[i]!)} = +t.${quoted(column)}`);
}

function parentSql(parent: SourceTable, conditions: string[]): string {
  return `EXISTS (SELECT 1 FROM ${quoted(parent.name)} p WHERE ${conditions.join(' AND ')})`;
}
