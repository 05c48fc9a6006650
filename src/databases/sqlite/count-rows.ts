/** Counts the rows of a live source that meet a condition, in short steps. */
import type Database from 'better-sqlite3';
import { quoted } from '../identifiers.ts';
import { Pace } from './pace.ts';
import { rangesOf } from './ranges.ts';
import type { SourceTable } from './schema.ts';
import { readTransaction } from './transaction.ts';

/** @param condition SQL over the table, whose alias is `t` */
export async function countRows(
  db: Database.Database,
  table: SourceTable,
  condition: string,
): Promise<number> {
  const statements = new Map<string, Database.Statement<unknown[], number>>();
  const ranges = rangesOf(db, table);
  const pace = new Pace();
  let count = 0;
  for (;;) {
    const found = await pace.step((limit) =>
      readTransaction(db, () => {
        const range = ranges.next(limit);
        if (range === null) return null;
        let statement = statements.get(range.condition);
        if (statement === undefined) {
          statement = db
            .prepare<unknown[], number>(
              `SELECT count(*) FROM ${quoted(table.name)} t WHERE ${range.condition} AND (${condition})`,
            )
            .pluck() as Database.Statement<unknown[], number>;
          statements.set(range.condition, statement);
        }
        return statement.get(...range.parameters)!;
      }),
    );
    if (found === null) return count;
    count += found;
  }
}
