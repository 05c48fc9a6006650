/** Walks a table in ranges of its key, by keyset, so that no single query runs long on a live source. */
import type Database from 'better-sqlite3';
import { quoted } from '../identifiers.ts';
import type { SourceTable } from './schema.ts';

/** Some neighbouring rows: a condition over the alias `t` with its parameters. Few conditions occur, so prepare each once. */
export interface Range {
  condition: string;
  parameters: unknown[];
}

const FIRST_ROWID = -(2n ** 63n);
const LAST_ROWID = 2n ** 63n - 1n;

export interface Ranges {
  /** The next rows, `limit` at most; null after the last. Synchronous; rows may change between two calls. */
  next(limit: number): Range | null;
}

export function rangesOf(db: Database.Database, table: SourceTable): Ranges {
  const rowid = rowidName(table);
  return rowid === null ? keyRanges(db, table) : rowidRanges(db, table, rowid);
}

/** A name of the rowid that no column hides; null where there is none. */
export function rowidName(table: SourceTable): string | null {
  if (table.withoutRowid) return null;
  if (table.rowidAlias) return table.primaryKey[0]!;
  const taken = new Set(table.columns.map((column) => column.name.toLowerCase()));
  return ['rowid', '_rowid_', 'oid'].find((name) => !taken.has(name)) ?? null;
}

function rowidRanges(db: Database.Database, table: SourceTable, name: string): Ranges {
  const rowid = `t.${quoted(name)}`;
  const end = db
    .prepare<[bigint, number], bigint | null>(
      `SELECT max(r) FROM (SELECT ${rowid} AS r FROM ${quoted(table.name)} t WHERE ${rowid} >= ? ORDER BY 1 LIMIT ?)`,
    )
    .pluck()
    .safeIntegers();
  let from: bigint | null = FIRST_ROWID;
  return {
    next(limit) {
      if (from === null) return null;
      const to: bigint | null = end.get(from, limit) ?? null;
      const parameters = [from, to];
      from = to === null || to === LAST_ROWID ? null : to + 1n;
      return to === null ? null : { condition: `${rowid} BETWEEN ? AND ?`, parameters };
    },
  };
}

/**
 * By the whole key tuple, for WITHOUT ROWID. Key values travel with their storage class and text as bytes, because a
 * text that is not valid UTF-8 would come back from JavaScript as another key.
 */
function keyRanges(db: Database.Database, table: SourceTable): Ranges {
  const keys = table.primaryKey.map((name) => `t.${quoted(name)}`);
  const tuple = `(${keys.join(', ')})`;
  const bound = `(${keys.map(() => `iif(? = 'text', CAST(? AS TEXT), ?)`).join(', ')})`;
  const columns = keys.flatMap((key, i) => [
    `typeof(${key}) AS c${i}`,
    `iif(typeof(${key}) = 'text', CAST(${key} AS BLOB), ${key}) AS v${i}`,
  ]);
  // The last of the next rows, by SQLite's rule for bare columns beside one max().
  const endSql = (where: string): string =>
    `SELECT max(i), * FROM (SELECT row_number() OVER (ORDER BY ${keys.join(', ')}) AS i, ${columns.join(', ')}
       FROM ${quoted(table.name)} t ${where} ORDER BY ${keys.join(', ')} LIMIT ?)`;
  const prepare = (sql: string): Database.Statement<unknown[], unknown[]> =>
    db.prepare<unknown[], unknown[]>(sql).raw().safeIntegers() as Database.Statement<unknown[], unknown[]>;
  const [first, following] = [prepare(endSql('')), prepare(endSql(`WHERE ${tuple} > ${bound}`))];
  let last: unknown[] | null = null;
  return {
    next(limit) {
      const row: unknown[] = last === null ? first.get(limit)! : following.get(...last, limit)!;
      if (row[0] === null) return null;
      const to: unknown[] = keys.flatMap((_, i) => [row[2 + 2 * i], row[3 + 2 * i], row[3 + 2 * i]]);
      const upper = `${tuple} <= ${bound}`;
      const range =
        last === null
          ? { condition: upper, parameters: to }
          : { condition: `${tuple} > ${bound} AND ${upper}`, parameters: [...last, ...to] };
      last = to;
      return range;
    },
  };
}
