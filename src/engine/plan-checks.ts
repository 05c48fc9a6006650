/** The application's CHECK constraints: carried over where their meaning is certain and every row meets them. */
import type Database from 'better-sqlite3';
import type { ColumnPlan } from '../contract.ts';
import { findRows, type FoundRows } from '../databases/sqlite/find-rows.ts';
import type { SourceTable } from '../databases/sqlite/schema.ts';
import { lookupOf } from './column-lookup.ts';
import { translateCondition } from './expressions.ts';
import { named, oneLine, type Findings } from './findings.ts';

const NOTHING: FoundRows = { count: 0, keys: [] };

/** @returns SQL expressions for the target; what is left out has a notice */
export async function planChecks(
  db: Database.Database,
  table: SourceTable,
  columns: ColumnPlan[],
  findings: Findings,
): Promise<string[]> {
  const carried: string[] = [];
  for (const check of table.checks) {
    const sql = translateCondition(check, lookupOf(table, columns));
    // SQLite keeps rows from a time without the CHECK, or written while it was ignored.
    const broken = sql === null ? NOTHING : await findRows(db, table, `NOT ${check}`);
    if (sql !== null && broken.count === 0) {
      carried.push(sql);
      continue;
    }
    const why =
      broken.count > 0 ? `${broken.count} rows break it` : 'its meaning on PostgreSQL is not certain';
    findings.note({
      code: broken.count > 0 ? 'check-broken' : 'check-left-out',
      table: table.name,
      ...(broken.count > 0 ? broken : {}),
      message: `CHECK ${oneLine(check)} of ${named(table.name)} is not carried over: ${why}`,
    });
  }
  return carried;
}
