/** Reads the database under check, table by table in key order, with nothing but the driver. */
import Database from 'better-sqlite3';
import pg from 'pg';
import type { ColumnClass, TableShape } from '../database/schema.ts';
import type { SourceName } from '../sources/source.ts';

const FETCH = 5_000;

/** A cell in the one form that both databases' values are brought into. */
export type Cell = string | null;

export interface ActualDatabase {
  name: SourceName | 'PostgreSQL';
  /** Blocks of rows in key order, one array of cells per row in the order of `shape.columns`. */
  read(shape: TableShape): AsyncIterable<Cell[][]>;
  close(): Promise<void>;
}

/** Brings a SQLite value into the common form; a value of another storage class is marked, so that it differs. */
export function fromSqlite(value: unknown, holds: ColumnClass): Cell {
  if (value === null) return null;
  switch (holds) {
    case 'integer':
    case 'number':
    case 'boolean':
      return typeof value === 'number' ? String(value) : `(${typeof value}) ${String(value)}`;
    case 'text':
      return typeof value === 'string' ? value : `(${typeof value}) ${String(value)}`;
    case 'blob':
      return Buffer.isBuffer(value) ? value.toString('hex') : `(${typeof value}) ${String(value)}`;
  }
}

/** Brings the text form of a PostgreSQL value into the common form. */
function fromPostgres(value: string | null, holds: ColumnClass): Cell {
  if (value === null) return null;
  switch (holds) {
    case 'integer':
    case 'text':
      return value;
    case 'number':
      return String(Number(value));
    case 'boolean':
      return value === 't' ? '1' : value === 'f' ? '0' : value;
    case 'blob':
      return value.startsWith('\\x') ? value.slice(2) : value;
  }
}

function selectSql({ name, columns, key }: TableShape): string {
  return `SELECT ${columns.map((column) => column.name).join(', ')} FROM ${name} ORDER BY ${key.join(', ')}`;
}

/** @param name of what the file belongs to */
export function openSqlite(path: string, name: SourceName = 'SQLite'): ActualDatabase {
  const db = new Database(path, { readonly: true, fileMustExist: true });
  // One snapshot for all tables.
  db.exec('BEGIN');
  return {
    name,
    async *read(shape) {
      let block: Cell[][] = [];
      for (const row of readSqlite(db, shape)) {
        block.push(row);
        if (block.length < FETCH) continue;
        yield block;
        block = [];
        await new Promise((resolve) => setImmediate(resolve));
      }
      yield block;
    },
    close: async () => {
      db.close();
    },
  };
}

/** Rows of a table in key order, as cells. */
export function* readSqlite(db: Database.Database, shape: TableShape): Generator<Cell[]> {
  const { columns } = shape;
  for (const row of db.prepare(selectSql(shape)).raw().iterate() as Iterable<unknown[]>) {
    yield row.map((value, i) => fromSqlite(value, columns[i]?.holds ?? 'text'));
  }
}

export async function openPostgres(url: string): Promise<ActualDatabase> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'crossfade demo checker',
    types: { getTypeParser: () => (value: unknown) => value },
  });
  await client.connect();
  try {
    await client.query(
      `SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'; SET extra_float_digits = 3;
       BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`,
    );
  } catch (error) {
    await client.end();
    throw error;
  }
  return {
    name: 'PostgreSQL',
    async *read(shape) {
      const { columns } = shape;
      await client.query(`DECLARE rows NO SCROLL CURSOR FOR ${selectSql(shape)}`);
      for (;;) {
        const { rows } = await client.query<(string | null)[]>({
          text: `FETCH ${FETCH} FROM rows`,
          rowMode: 'array',
        });
        if (rows.length === 0) break;
        yield rows.map((row) => row.map((value, i) => fromPostgres(value, columns[i]?.holds ?? 'text')));
      }
      await client.query('CLOSE rows');
    },
    close: () => client.end(),
  };
}
