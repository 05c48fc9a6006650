/** Finds the rows of a live source that meet a condition, in short steps: how many they are, and the keys of the first. */
import type Database from 'better-sqlite3';
import { quoted } from '../identifiers.ts';
import { Pace } from './pace.ts';
import { rangesOf, rowidName, type Range } from './ranges.ts';
import { readableKey } from './readable.ts';
import type { SourceTable } from './schema.ts';
import { readTransaction } from './transaction.ts';

/** Keys that are told of the rows found. */
const KEYS = 5;

export interface FoundRows {
  count: number;
  /** Of the first five, in the order of the table, for a person to read. */
  keys: string[];
}

/**
 * @param condition SQL over the table, whose alias is `t`
 * @param enough stops when so many are counted
 */
export async function findRows(
  db: Database.Database,
  table: SourceTable,
  condition: string,
  enough = Infinity,
): Promise<FoundRows> {
  const statements = new Map<string, Database.Statement<unknown[], unknown[]>>();
  const ask = (select: string, range: Range, limit = ''): unknown[][] => {
    // An index that serves the condition would be read anew for each range.
    const sql = `SELECT ${select} FROM ${quoted(table.name)} t NOT INDEXED WHERE ${range.condition} AND (${condition})${limit}`;
    let statement = statements.get(sql);
    if (statement === undefined) {
      statement = db.prepare<unknown[], unknown[]>(sql).raw().safeIntegers() as Database.Statement<
        unknown[],
        unknown[]
      >;
      statements.set(sql, statement);
    }
    return statement.all(...range.parameters);
  };
  const rowid = rowidName(table);
  const names = [...table.primaryKey, ...(rowid === null ? [] : [rowid])];
  const key = names.map((name) => `t.${quoted(name)}`).join(', ');
  const ranges = rangesOf(db, table);
  const pace = new Pace();
  const found: FoundRows = { count: 0, keys: [] };
  while (found.count < enough) {
    const count = await pace.step((limit) =>
      readTransaction(db, () => {
        const range = ranges.next(limit);
        if (range === null) return null;
        const here = Number(ask('count(*)', range)[0]![0]);
        const wanted = KEYS - found.keys.length;
        if (here > 0 && wanted > 0) {
          const rows = ask(key, range, ` LIMIT ${wanted}`);
          found.keys.push(
            ...rows.map((row) => readableKey(row.slice(0, table.primaryKey.length), row.at(-1))),
          );
        }
        return here;
      }),
    );
    if (count === null) break;
    found.count += count;
  }
  return found;
}

/** The keys of the first rows that meet a condition of which `count` rows are known to meet it. */
export async function firstKeys(
  db: Database.Database,
  table: SourceTable,
  condition: string,
  count = KEYS,
): Promise<string[]> {
  return (await findRows(db, table, condition, Math.min(KEYS, count))).keys;
}
