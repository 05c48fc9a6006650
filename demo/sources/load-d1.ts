/** The generated rows as statements that D1 takes. */
import Database from 'better-sqlite3';
import { INDEXES_SQL, SHAPES, TABLES_SQL } from '../database/schema.ts';

/** D1 takes 100,000 bytes a statement; a row has at most a few thousand. */
const STATEMENT_CHARACTERS = 30_000;
const STATEMENTS = 20;

/** Batches of statements that make the database of the file anew, indexes at the end. */
export function* batchesOf(path: string): Generator<string[]> {
  yield TABLES_SQL.split(';').filter((sql) => sql.trim() !== '');
  let batch: string[] = [];
  for (const statement of inserts(path)) {
    batch.push(statement);
    if (batch.length < STATEMENTS) continue;
    yield batch;
    batch = [];
  }
  yield [...batch, ...INDEXES_SQL];
}

function* inserts(path: string): Generator<string> {
  const db = new Database(path, { readonly: true });
  try {
    for (const { name, columns } of SHAPES) {
      const values = columns.map((column) => `quote(${column.name})`).join(` || ',' || `);
      let rows: string[] = [];
      let length = 0;
      const statement = (): string => `INSERT INTO ${name} VALUES ${rows.join(', ')}`;
      for (const row of db.prepare(`SELECT ${values} FROM ${name}`).pluck().iterate() as Iterable<string>) {
        rows.push(`(${row})`);
        length += row.length;
        if (length < STATEMENT_CHARACTERS) continue;
        yield statement();
        rows = [];
        length = 0;
      }
      if (rows.length > 0) yield statement();
    }
  } finally {
    db.close();
  }
}
