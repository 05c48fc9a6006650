/** What the demo's tests share: a store straight on SQLite, and a copy of a SQLite database in PostgreSQL by plain SQL. */
import Database from 'better-sqlite3';
import pg from 'pg';
import type { Row, Session, Sql, Store, Value, WriteResult } from '../../demo/application/store.ts';
import { SHAPES, type ColumnClass } from '../../demo/database/schema.ts';

/** Lets a test answer falsely: called before each write, and returns what to do with it. */
export type Meddle = (sql: string) => 'apply' | 'pretend' | 'lose the answer';

/** The application's store without crossfade: one SQLite connection, and transactions one after the other. */
export class SqliteStore implements Store {
  readonly #db: Database.Database;
  readonly #meddle: Meddle;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(path: string, meddle: Meddle = () => 'apply') {
    this.#db = new Database(path);
    this.#meddle = meddle;
  }

  async query<T = Row>(sql: Sql, params: readonly Value[] = []): Promise<T[]> {
    return this.#db.prepare(text(sql)).all(params) as T[];
  }

  write<T = Row>(sql: Sql, params: readonly Value[] = []): Promise<WriteResult<T>> {
    return this.#alone(async () => this.#run<T>(sql, params));
  }

  transaction<T>(work: (tx: Session) => Promise<T>): Promise<T> {
    return this.#alone(async () => {
      this.#db.exec('BEGIN IMMEDIATE');
      try {
        const result = await work({
          query: (sql, params) => this.query(sql, params),
          write: async <R = Row>(sql: Sql, params: readonly Value[] = []) => this.#run<R>(sql, params),
        });
        this.#db.exec('COMMIT');
        return result;
      } catch (error) {
        this.#db.exec('ROLLBACK');
        throw error;
      }
    });
  }

  batch(operations: readonly { sql: Sql; params?: readonly Value[] }[]): Promise<WriteResult[]> {
    return this.transaction(async (tx) => {
      const results: WriteResult[] = [];
      for (const { sql, params } of operations) results.push(await tx.write(sql, params));
      return results;
    });
  }

  primary(): 'source' {
    return 'source';
  }

  close(): void {
    this.#db.close();
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #run<T>(sql: Sql, params: readonly Value[]): WriteResult<T> {
    const deed = this.#meddle(text(sql));
    const pretend = deed === 'pretend';
    if (pretend) this.#db.exec('SAVEPOINT pretend');
    const statement = this.#db.prepare(text(sql));
    const rows = statement.reader ? (statement.all(params) as T[]) : [];
    const changes = statement.reader ? rows.length : statement.run(params).changes;
    if (pretend) this.#db.exec('ROLLBACK TO pretend; RELEASE pretend');
    if (deed === 'lose the answer') throw new Error('the connection broke');
    return { changes, rows };
  }
}

function text(sql: Sql): string {
  return typeof sql === 'string' ? sql : sql.sqlite;
}

const TYPES: Record<ColumnClass, string> = {
  integer: 'bigint',
  number: 'double precision',
  boolean: 'boolean',
  text: 'text',
  blob: 'bytea',
};

/** Copies the demo's tables, rows one by one; columns of dates become timestamps where they hold a time of day. */
export async function copyToPostgres(path: string, url: string): Promise<void> {
  const db = new Database(path, { readonly: true });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const { name, columns } of SHAPES) {
      const type = (column: (typeof columns)[number]): string =>
        column.name.endsWith('_at') ? 'timestamp' : TYPES[column.holds];
      await client.query(`CREATE TABLE ${name} (${columns.map((c) => `${c.name} ${type(c)}`).join(', ')})`);
      for (const row of db.prepare(`SELECT * FROM ${name}`).raw().iterate() as Iterable<unknown[]>) {
        await client.query(`INSERT INTO ${name} VALUES (${row.map((_, i) => `$${i + 1}`).join(', ')})`, row);
      }
    }
  } finally {
    await client.end();
    db.close();
  }
}
