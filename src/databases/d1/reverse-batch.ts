/**
 * Changes that come back from the target, as statements for D1. There foreign keys cannot be switched off, so a row that
 * changed is updated in its place and never deleted and inserted, which would set off the actions of what refers to it.
 * Unique values that move between rows are first taken away from the rows that hold them.
 */
import type Database from 'better-sqlite3';
import type { TablePlan } from '../../contract.ts';
import { quoted } from '../identifiers.ts';
import { InvalidText } from '../invalid-text.ts';
import type { KeyValue } from '../key.ts';
import { exactRows } from '../sqlite/exact-rows.ts';
import { rowidOf } from '../sqlite/rowid.ts';
import { uniqueIndexesOf } from '../sqlite/schema.ts';
import type { StagedTable } from '../sqlite/origin.ts';
import { exactSql } from './cells.ts';
import type { Statement } from './client.ts';

/** D1 allows 100,000 bytes of SQL for a statement. */
const MOST_SQL = 80_000;
/** Longer values do not go into the SQL. */
const LONG_BYTES = 10_000;
/** Two hexadecimal digits for each; D1 allows 2 MB for a parameter. */
const PIECE_BYTES = 500_000;

/**
 * Puts the staged rows into the mirror by `put`, and gives the statements that do the same in D1.
 * @param put does it, and tells which staged rows it had to leave out, by table and row number
 */
export function returningSql(
  db: Database.Database,
  staged: StagedTable[],
  put: () => Map<TablePlan, Set<bigint>>,
): Statement[] {
  const looked = staged.map((one) => ({ one, ...before(db, one) }));
  const refused = put();
  return [
    // Rows arrive table by table, so that a child may come before its parent.
    { sql: 'PRAGMA defer_foreign_keys = on' },
    ...looked.flatMap(({ one, freed }) => {
      const left = refused.get(one.table);
      // A row that is left out would keep what stands in for its value.
      return freed
        .filter(({ number }) => number === null || left?.has(number) !== true)
        .map(({ statement }) => statement);
    }),
    ...looked.flatMap(({ one }) => putSql(db, one, refused.get(one.table) ?? new Set())),
    // Last, when no row that stays refers to a row that goes.
    ...looked.flatMap(({ one, deleted }) => deleteSql(one.table, deleted)),
  ];
}

/** What has to be known before the mirror is changed. */
interface Before {
  /** Keys of rows that go. */
  deleted: KeyValue[][];
  /** Statements that free unique values, with the staged row that restores the row; null where it is to be deleted. */
  freed: { statement: Statement; number: bigint | null }[];
}

/** Looks at a table of the mirror as it is before the batch. */
function before(db: Database.Database, staged: StagedTable): Before {
  const { table } = staged;
  const main = `main.${quoted(table.name)}`;
  const same = table.key.map((name) => `r.${quoted(name)} = m.${quoted(name)}`).join(' AND ');
  const keys = table.key.map((name) => quoted(name)).join(', ');
  // Rows of the batch alone: no other is put right again by it.
  const chosen = staged.all
    ? 'true'
    : `(${prefixed(table.key, 'm')}) IN (SELECT ${keys} FROM ${staged.keys})`;
  const deleted = exactRows(
    db,
    table.key.map((name) => `m.${quoted(name)}`),
    `FROM ${main} m WHERE ${chosen} AND NOT EXISTS (SELECT 1 FROM ${staged.rows} r WHERE ${same})`,
  );
  const freed = uniqueIndexesOf(db, table.name).flatMap((index) => {
    const columns = index.terms.map(({ column }) => column);
    const free = columns.find((column) => column !== undefined && !table.key.includes(column));
    if (!index.plain || free === undefined || columns.includes(undefined)) return [];
    const equal = index.terms.map(
      ({ column, collation }) => `r.${quoted(column!)} = m.${quoted(column!)} COLLATE ${quoted(collation)}`,
    );
    const itself = table.key.map((name) => `q.${quoted(name)} = m.${quoted(name)}`).join(' AND ');
    const holders = exactRows(
      db,
      [`q.${rowidOf(table)}`, ...table.key.map((name) => `m.${quoted(name)}`)],
      `FROM ${staged.rows} r JOIN ${main} m ON ${equal.join(' AND ')} LEFT JOIN ${staged.rows} q ON ${itself} ` +
        `WHERE NOT (${same}) AND ${chosen}`,
    );
    return holders.map(([number, ...key]) => ({
      statement: {
        sql: `UPDATE ${quoted(table.name)} SET ${quoted(free)} = ${substitute(table, free)} WHERE ${where(table, key)}`,
      },
      number: number as bigint | null,
    }));
  });
  return { deleted, freed };
}

/** A value that no other row has: NULLs are all different, where the column may be NULL. */
function substitute(table: TablePlan, name: string): string {
  const column = table.columns.find((one) => one.name === name);
  if (column === undefined || !column.notNull) return 'NULL';
  return /INT/i.test(column.declared) ? `random()` : `'crossfade ' || hex(randomblob(16))`;
}

/**
 * The statements of a table, in the order: free unique values, put rows, delete.
 * @param refused row numbers in the staged rows that the mirror did not take
 */
function putSql(db: Database.Database, staged: StagedTable, refused: Set<bigint>): Statement[] {
  const { table } = staged;
  const columns = table.columns.map(({ name }) => name);
  const names = columns.map(quoted).join(', ');
  const rest = columns.filter((name) => !table.key.includes(name));
  const target = `ON CONFLICT (${table.key.map(quoted).join(', ')}) `;
  const update =
    rest.length === 0
      ? `${target}DO NOTHING`
      : `${target}DO UPDATE SET ${rest.map((name) => `${quoted(name)} = excluded.${quoted(name)}`).join(', ')}`;
  const insert = `INSERT OR ABORT INTO ${quoted(table.name)} (${names}) VALUES `;
  const inPlace = canPrepare(db, `${insert}(${columns.map(() => 'NULL').join(', ')}) ${update}`);
  const rows = stagedRows(db, staged).filter(({ number }) => !refused.has(number));
  const values = rows.map(({ row }) => rowValues(row));
  if (inPlace) return joined(values, insert, ` ${update}`);
  const places = table.key.map((name) => columns.indexOf(name));
  const keys = rows.map(({ row }) => places.map((place) => row[place]!));
  return [...deleteSql(table, keys), ...joined(values, insert, '')];
}

/** A row's values in parentheses; long ones as parameters, in pieces that a parameter may have. */
function rowValues(row: KeyValue[]): Statement {
  const params: string[] = [];
  const values = row.map((value) => {
    const bytes = bytesOf(value);
    if (bytes === null || bytes.length < LONG_BYTES) return exactSql(value);
    const pieces: string[] = [];
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      params.push(bytes.subarray(at, at + PIECE_BYTES).toString('hex'));
      pieces.push(`unhex(?${params.length})`);
    }
    return `CAST(${pieces.join(' || ')} AS ${Buffer.isBuffer(value) ? 'BLOB' : 'TEXT'})`;
  });
  return { sql: `(${values.join(', ')})`, params };
}

function bytesOf(value: KeyValue): Buffer | null {
  if (typeof value === 'string') return Buffer.from(value);
  if (value instanceof InvalidText) return value.bytes;
  return Buffer.isBuffer(value) ? value : null;
}

function deleteSql(table: TablePlan, keys: KeyValue[][]): Statement[] {
  return joined(
    keys.map((key) => ({ sql: `(${where(table, key)})` })),
    `DELETE FROM ${quoted(table.name)} WHERE `,
    '',
    ' OR ',
    // D1's expressions may be 100 deep, and a chain of OR is as deep as it is long.
    50,
  );
}

function where(table: TablePlan, key: KeyValue[]): string {
  return table.key.map((name, i) => `${quoted(name)} = ${exactSql(key[i]!)}`).join(' AND ');
}

function stagedRows(
  db: Database.Database,
  { table, rows }: StagedTable,
): { number: bigint; row: KeyValue[] }[] {
  const found = exactRows(
    db,
    [rowidOf(table), ...table.columns.map(({ name }) => quoted(name))].map((name) => `r.${name}`),
    `FROM ${rows} r ORDER BY 1`,
  );
  return found.map(([number, ...row]) => ({ number: number as bigint, row }));
}

function prefixed(names: string[], alias: string): string {
  return names.map((name) => `${alias}.${quoted(name)}`).join(', ');
}

function canPrepare(db: Database.Database, sql: string): boolean {
  try {
    db.prepare(sql);
    return true;
  } catch {
    return false;
  }
}

/** Statements of as many parts as the limits allow; a part with parameters has a statement of its own. */
function joined(parts: Statement[], head: string, tail: string, between = ', ', most = 500): Statement[] {
  const statements: Statement[] = [];
  let some: string[] = [];
  let size = 0;
  const flush = (): void => {
    if (some.length > 0) statements.push({ sql: head + some.join(between) + tail });
    some = [];
    size = 0;
  };
  for (const { sql, params = [] } of parts) {
    const bytes = Buffer.byteLength(sql);
    if (params.length > 0) {
      flush();
      statements.push({ sql: head + sql + tail, params });
      continue;
    }
    if (some.length === most || size + bytes > MOST_SQL) flush();
    some.push(sql);
    size += bytes;
  }
  flush();
  return statements;
}
