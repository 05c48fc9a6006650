/** Rows whose foreign key has no parent: SQLite accepts them while foreign_keys is off, which is its default. */
import type Database from 'better-sqlite3';
import { quoted } from '../identifiers.ts';
import { Pace } from './pace.ts';
import { rangesOf } from './ranges.ts';
import type { SourceTable } from './schema.ts';
import { readTransaction } from './transaction.ts';

/**
 * Counts the rows of `child` without a parent, in short steps. Where any of its columns is NULL there is nothing to find.
 * @param columns the referring columns, in the order of `parentColumns`
 */
export async function countOrphans(
  db: Database.Database,
  child: SourceTable,
  columns: string[],
  parent: SourceTable,
  parentColumns: string[],
): Promise<number> {
  const present = columns.map((column) => `t.${quoted(column)} IS NOT NULL`);
  // The unary plus takes the affinity away, so that the parent's is applied, as SQLite does for foreign keys.
  const match = columns.map((column, i) => `p.${quoted(parentColumns[i]!)} = +t.${quoted(column)}`);
  const statements = new Map<string, Database.Statement<unknown[], number>>();
  const ranges = rangesOf(db, child);
  const pace = new Pace();
  let orphans = 0;
  for (;;) {
    const found = await pace.step((limit) =>
      readTransaction(db, () => {
        const range = ranges.next(limit);
        if (range === null) return null;
        let statement = statements.get(range.condition);
        if (statement === undefined) {
          statement = db
            .prepare<unknown[], number>(
              `SELECT count(*) FROM ${quoted(child.name)} t WHERE ${range.condition} AND ${present.join(' AND ')}
                  AND NOT EXISTS (SELECT 1 FROM ${quoted(parent.name)} p WHERE ${match.join(' AND ')})`,
            )
            .pluck() as Database.Statement<unknown[], number>;
          statements.set(range.condition, statement);
        }
        return statement.get(...range.parameters)!;
      }),
    );
    if (found === null) return orphans;
    orphans += found;
  }
}
