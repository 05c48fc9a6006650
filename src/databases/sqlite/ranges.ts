/** Walks a table in ranges of its key, by keyset, so that no single query runs long on a live source. */
import type Database from 'better-sqlite3';
import { quoted } from '../identifiers.ts';
import type { SourceTable } from './schema.ts';

/** Some neighbouring rows: a condition over the alias `t` with its parameters. Few conditions occur, so prepare each once. */
export interface Range {
  condition: string;
  parameters: unknown[];
}

export interface Ranges {
  /** The next rows, `limit` at most; null after the last. Synchronous; rows may change between two calls. */
  next(limit: number): Range | null;
}

/** Ends at the last row of this moment, so that it comes to an end however fast the application inserts. */
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
  const from = `FROM ${quoted(table.name)} t`;
  // Two queries: SQLite finds either end at once, but scans the table for both together.
  const end = (which: string): bigint | null =>
    db.prepare<[], bigint | null>(`SELECT ${which}(${rowid}) ${from}`).pluck().safeIntegers().get()!;
  let next = end('min');
  const last = end('max');
  const step = db
    .prepare<[bigint, bigint, number], bigint | null>(
      `SELECT max(r) FROM (SELECT ${rowid} AS r ${from} WHERE ${rowid} BETWEEN ? AND ? ORDER BY 1 LIMIT ?)`,
    )
    .pluck()
    .safeIntegers();
  return {
    next(limit) {
      if (next === null || last === null || next > last) return null;
      const to = step.get(next, last, limit) ?? last;
      const range = { condition: `${rowid} BETWEEN ? AND ?`, parameters: [next, to] };
      next = to + 1n;
      return range;
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
  const columns = keys.map(
    (key) => `typeof(${key}), iif(typeof(${key}) = 'text', CAST(${key} AS BLOB), ${key})`,
  );
  const select = `SELECT ${columns.join(', ')} FROM ${quoted(table.name)} t`;
  const backwards = keys.map((key) => `${key} DESC`).join(', ');
  const prepared = new Map<string, Database.Statement<unknown[], unknown[]>>();
  /** Parameters of `bound` for the row that the query finds. */
  const boundOf = (sql: string, ...parameters: unknown[]): unknown[] | null => {
    let statement = prepared.get(sql);
    if (statement === undefined) {
      statement = db.prepare<unknown[], unknown[]>(sql).raw().safeIntegers() as Database.Statement<
        unknown[],
        unknown[]
      >;
      prepared.set(sql, statement);
    }
    const row = statement.get(...parameters);
    return row === undefined ? null : keys.flatMap((_, i) => [row[2 * i], row[2 * i + 1], row[2 * i + 1]]);
  };
  const last = boundOf(`${select} ORDER BY ${backwards} LIMIT 1`);
  let done: unknown[] | null = null;
  return {
    next(limit) {
      if (last === null) return null;
      const [after, parameters]: [string, unknown[]] =
        done === null ? ['', []] : [`${tuple} > ${bound} AND `, done];
      const condition = `${after}${tuple} <= ${bound}`;
      const rows = `SELECT ${keys.join(', ')} FROM ${quoted(table.name)} t WHERE ${condition} ORDER BY ${keys.join(', ')} LIMIT ?`;
      const sql = `SELECT ${columns.join(', ')} FROM (${rows}) t ORDER BY ${backwards} LIMIT 1`;
      const to = boundOf(sql, ...parameters, ...last, limit);
      if (to === null) return null;
      done = to;
      return { condition, parameters: [...parameters, ...to] };
    },
  };
}
