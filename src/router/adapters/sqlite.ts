/** SQLite behind the adapter's interface: one connection that writes, one that reads, both in this process. */
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type {
  Capabilities,
  DatabaseAdapter,
  Migration,
  Operation,
  Row,
  Sql,
  Transaction,
  Value,
  WriteResult,
} from '../../databases/adapter.ts';
import { CrossfadeError, driverCode, messageOf } from '../../errors.ts';
import { Cache } from '../cache.ts';
import { Mutex } from '../mutex.ts';
import { numbersParameters, refuseAsQuery, refuseTransactionControl } from '../placeholders.ts';
import { Turns } from '../turns.ts';
import { mayBeRounded, narrowRow, sqliteParams } from '../values.ts';
import { Doom } from './doomed.ts';
import { runMigrations, type ScriptTransaction } from './migrations.ts';

export interface SqliteAdapterOptions {
  /** Every integer as bigint; default false: only those beyond 2^53. */
  safeIntegers?: boolean;
  /** How long a write waits, without blocking the process, for other writers; default 5000. */
  busyTimeoutMs?: number;
  /** `full` survives a power failure after each commit; `normal` is better-sqlite3's own default. Default `full`. */
  synchronous?: 'full' | 'normal';
}

/** Called inside a write transaction, after its begin and before its commit; what they throw rolls it back. */
export interface WriteHooks {
  begun(): void;
  ending(): void;
}

interface Connection {
  db: Database.Database;
  statements: Cache<string, Database.Statement>;
}

interface Writer extends Connection {
  begin: Database.Statement;
  commit: Database.Statement;
  rollback: Database.Statement;
  changes: Database.Statement;
}

const CACHED_STATEMENTS = 250;
/** Opening may wait this long for other processes, blocking: it happens once. */
const OPEN_TIMEOUT_MS = 1_000;
const LONGEST_PAUSE_MS = 10;

export class SqliteAdapter implements DatabaseAdapter {
  readonly dialect = 'sqlite';
  readonly capabilities: Capabilities = {
    interactiveTransactions: true,
    concurrentWriters: false,
  };
  readonly path: string;
  readonly #options: Required<SqliteAdapterOptions>;
  readonly #mutex = new Mutex();
  readonly #turns = new Turns();
  /** Statements whose parameters are numbered. */
  readonly #numbered = new WeakSet<Database.Statement>();
  #connections: { reader: Connection; writer: Writer } | undefined;
  #closed = false;

  /** Opens nothing yet: the file is opened, or created, by the first statement. @throws CrossfadeError BadConnection */
  constructor(path: string, options: SqliteAdapterOptions = {}) {
    if (path === '' || path.startsWith(':memory:')) {
      throw new CrossfadeError(
        'BadConnection',
        'an in-memory database has a single connection and cannot be migrated: name a file',
      );
    }
    this.path = path;
    this.#options = { safeIntegers: false, busyTimeoutMs: 5_000, synchronous: 'full', ...options };
  }

  /** The connection that reads; never inside a transaction between two turns of the event loop. */
  get reader(): Database.Database {
    return this.#open().reader.db;
  }

  /** The connection that writes; only to be used inside `exclusive` or a hook. */
  get writer(): Database.Database {
    return this.#open().writer.db;
  }

  async query<T = Row>(sql: Sql, params: readonly Value[] = []): Promise<T[]> {
    const statement = this.#reading(this.#open().reader, sql);
    const values = sqliteParams(params);
    const giveUpAt = performance.now() + this.#options.busyTimeoutMs;
    for (let pause = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        const rows = this.#rows<T>(statement, values);
        const turn = this.#turns.over();
        if (turn !== undefined) await turn;
        return rows;
      } catch (error) {
        // In WAL mode a reader is only kept out while another connection recovers or resets the log.
        if (!isBusy(error)) throw error;
        if (performance.now() > giveUpAt) throw this.#busy(error);
        await sleep(pause);
      }
    }
  }

  async write<T = Row>(sql: Sql, params: readonly Value[] = [], hooks?: WriteHooks): Promise<WriteResult<T>> {
    const values = sqliteParams(params);
    return this.#immediate((writer) => this.#run<T>(writer, sql, values), hooks);
  }

  async batch(operations: readonly Operation[], hooks?: WriteHooks): Promise<WriteResult[]> {
    return this.#immediate(
      (writer) => operations.map(({ sql, params = [] }) => this.#run(writer, sql, sqliteParams(params))),
      hooks,
    );
  }

  transaction<T>(callback: (tx: Transaction) => Promise<T>, hooks?: WriteHooks): Promise<T> {
    return this.#interactive(callback, hooks);
  }

  migrate(
    migrations: readonly Migration[],
    direction: 'up' | 'down' = 'up',
    hooks?: WriteHooks,
  ): Promise<string[]> {
    return runMigrations((work) => this.#interactive(work, hooks), migrations, direction);
  }

  /** Runs `work` while no statement or transaction of this adapter uses the writer. @throws CrossfadeError SourceBusy */
  async exclusive<T>(work: (db: Database.Database) => T): Promise<T> {
    if (!this.#mutex.tryLock()) await this.#lock();
    try {
      const { db } = this.#open().writer;
      return await this.#whenFree(() => work(db));
    } finally {
      this.#mutex.unlock();
    }
  }

  /** Waits for the transaction that is running. */
  async close(): Promise<void> {
    this.#closed = true;
    if (!this.#mutex.tryLock()) await this.#mutex.lock(2 ** 31 - 1);
    // The writer last: a connection that may write removes the log and its index.
    this.#connections?.reader.db.close();
    this.#connections?.writer.db.close();
    this.#connections = undefined;
    this.#mutex.unlock();
  }

  async #immediate<T>(work: (writer: Writer) => T, hooks: WriteHooks | undefined): Promise<T> {
    if (!this.#mutex.tryLock()) await this.#lock();
    try {
      const { writer } = this.#open();
      const begun = this.#begin(writer);
      if (begun !== undefined) await begun;
      try {
        hooks?.begun();
        const result = work(writer);
        hooks?.ending();
        writer.commit.run();
        return result;
      } catch (error) {
        rollBack(writer);
        throw error;
      }
    } finally {
      this.#mutex.unlock();
      const turn = this.#turns.over();
      if (turn !== undefined) await turn;
    }
  }

  async #interactive<T>(
    callback: (tx: ScriptTransaction) => Promise<T>,
    hooks: WriteHooks | undefined,
  ): Promise<T> {
    if (!this.#mutex.tryLock()) await this.#lock();
    try {
      const { writer } = this.#open();
      const begun = this.#begin(writer);
      if (begun !== undefined) await begun;
      const doom = new Doom();
      try {
        hooks?.begun();
        const result = await callback(this.#transaction(writer, doom));
        doom.close();
        hooks?.ending();
        writer.commit.run();
        return result;
      } catch (error) {
        rollBack(writer);
        throw doom.reason(error);
      }
    } finally {
      this.#mutex.unlock();
      const turn = this.#turns.over();
      if (turn !== undefined) await turn;
    }
  }

  #transaction(writer: Writer, doom: Doom): ScriptTransaction {
    const guarded = async <T>(statement: () => T): Promise<T> => {
      doom.check();
      try {
        return statement();
      } catch (error) {
        return doom.fail(error);
      }
    };
    return {
      query: <T>(sql: Sql, params: readonly Value[] = []) =>
        guarded(() => this.#rows<T>(this.#reading(writer, sql), sqliteParams(params))),
      write: <T>(sql: Sql, params: readonly Value[] = []) =>
        guarded(() => this.#run<T>(writer, sql, sqliteParams(params))),
      script: (sql) => guarded(() => void writer.db.exec(textOf(sql))),
    };
  }

  #run<T>(writer: Writer, sql: Sql, values: readonly unknown[]): WriteResult<T> {
    const statement = this.#prepared(writer, textOf(sql));
    if (!statement.reader)
      return { changes: statement.run(this.#bound(statement, values)).changes, rows: [] };
    if (statement.readonly) return { changes: 0, rows: this.#rows(statement, values) };
    const rows = statement.all(this.#bound(statement, values)) as T[];
    return { changes: writer.changes.get() as number, rows: this.#narrowed(rows) };
  }

  /** Rows of a statement that only reads, every integer exact. */
  #rows<T>(statement: Database.Statement, values: readonly unknown[]): T[] {
    const bound = this.#bound(statement, values);
    const rows = statement.all(bound);
    if (this.#options.safeIntegers || !(rows as Row[]).some(mayBeRounded)) return rows as T[];
    // The driver gives integers as numbers, or all as bigint. Reading twice is rare, and quicker than bigints everywhere.
    statement.safeIntegers(true);
    try {
      return this.#narrowed(statement.all(bound) as T[]);
    } finally {
      statement.safeIntegers(false);
    }
  }

  #bound(statement: Database.Statement, values: readonly unknown[]): unknown {
    if (!this.#numbered.has(statement)) return values;
    return Object.fromEntries(values.map((value, index) => [index + 1, value]));
  }

  #narrowed<T>(rows: T[]): T[] {
    if (!this.#options.safeIntegers) for (const row of rows) narrowRow(row as Row);
    return rows;
  }

  #reading(connection: Connection, sql: Sql): Database.Statement {
    const statement = this.#prepared(connection, textOf(sql));
    if (statement.reader && statement.readonly) return statement;
    return refuseAsQuery(statement.source);
  }

  #prepared(connection: Connection, text: string): Database.Statement {
    const known = connection.statements.get(text);
    if (known !== undefined) return known;
    refuseTransactionControl(text);
    const statement = connection.db.prepare(text);
    // What writes cannot be run again to learn what a number was rounded from.
    if (statement.reader && (this.#options.safeIntegers || !statement.readonly)) statement.safeIntegers(true);
    if (numbersParameters(text)) this.#numbered.add(statement);
    connection.statements.set(text, statement);
    return statement;
  }

  async #lock(): Promise<void> {
    if (await this.#mutex.lock(this.#options.busyTimeoutMs)) return;
    throw new CrossfadeError(
      'SourceBusy',
      `a transaction of this process held ${this.path} for ${this.#options.busyTimeoutMs} ms: ` +
        'inside its callback use the transaction, not the connection, and wait for nothing else',
    );
  }

  #begin(writer: Writer): Promise<void> | undefined {
    try {
      writer.begin.run();
      return undefined;
    } catch (error) {
      if (!isBusy(error)) throw error;
    }
    return this.#whenFree(() => void writer.begin.run());
  }

  async #whenFree<T>(work: () => T): Promise<T> {
    const giveUpAt = performance.now() + this.#options.busyTimeoutMs;
    for (let pause = 1; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        return work();
      } catch (error) {
        if (!isBusy(error)) throw error;
        if (performance.now() > giveUpAt) throw this.#busy(error);
        await sleep(pause);
      }
    }
  }

  #busy(error: unknown): CrossfadeError {
    return new CrossfadeError(
      'SourceBusy',
      `${this.path} was locked by another process for ${this.#options.busyTimeoutMs} ms: end its long transaction`,
      error,
    );
  }

  #open(): { reader: Connection; writer: Writer } {
    if (this.#connections !== undefined) return this.#connections;
    if (this.#closed) throw new CrossfadeError('BadConnection', `${this.path} was closed by close()`);
    const opened: Database.Database[] = [];
    try {
      const db = new Database(this.path, { timeout: OPEN_TIMEOUT_MS });
      opened.push(db);
      const journal = db.pragma('journal_mode = WAL', { simple: true });
      if (journal !== 'wal') {
        throw new CrossfadeError(
          'SourceNotWal',
          `${this.path} stays in journal mode "${String(journal)}": its readers would block its writers`,
        );
      }
      db.pragma(`synchronous = ${this.#options.synchronous}`);
      // From here on nobody waits inside SQLite, where waiting stops the whole process.
      db.pragma('busy_timeout = 0');
      const reading = new Database(this.path, { readonly: true, fileMustExist: true, timeout: 0 });
      opened.push(reading);
      this.#connections = {
        reader: { db: reading, statements: new Cache(CACHED_STATEMENTS) },
        writer: {
          db,
          statements: new Cache(CACHED_STATEMENTS),
          begin: db.prepare('BEGIN IMMEDIATE'),
          commit: db.prepare('COMMIT'),
          rollback: db.prepare('ROLLBACK'),
          changes: db.prepare('SELECT changes()').pluck(),
        },
      };
      return this.#connections;
    } catch (error) {
      for (const db of opened) db.close();
      throw this.#openError(error);
    }
  }

  #openError(error: unknown): unknown {
    if (error instanceof CrossfadeError) return error;
    if (isBusy(error)) return this.#busy(error);
    const code = driverCode(error) === 'SQLITE_NOTADB' ? 'SourceNotSqlite' : 'BadConnection';
    return new CrossfadeError(
      code,
      `${this.path} cannot be opened as a SQLite database: ${messageOf(error)}`,
      error,
    );
  }
}

function textOf(sql: Sql): string {
  return typeof sql === 'string' ? sql : sql.sqlite;
}

function isBusy(error: unknown): boolean {
  return driverCode(error).startsWith('SQLITE_BUSY');
}

function rollBack(writer: Writer): void {
  // Some errors (a full disk) have already rolled the transaction back.
  if (writer.db.inTransaction) writer.rollback.run();
}
