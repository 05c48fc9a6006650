/** What an application may ask of a database, whichever it is. Both adapters answer with deep-equal values. */

/** A parameter. Booleans are bound as 1 and 0; `undefined`, dates and plain objects are refused. */
export type Value = null | number | bigint | string | boolean | Uint8Array;

/** A row as better-sqlite3 returns it, but an integer that no number holds is a bigint; with `safeIntegers` all are. */
export type Row = Record<string, null | number | bigint | string | Buffer>;

/** One text for both databases, with `?` for each parameter, or a text for each where they cannot be the same. */
export type Sql = string | { readonly sqlite: string; readonly postgres: string };

export interface WriteResult<T = Row> {
  /** Rows inserted, updated or deleted by the statement itself, without those of triggers and cascades. */
  changes: number;
  /** Rows of a RETURNING clause. */
  rows: T[];
}

export interface Operation {
  sql: Sql;
  params?: readonly Value[];
}

/** A transaction in progress. A statement that fails dooms it on both databases, even if the callback catches the error. */
export interface Transaction {
  query<T = Row>(sql: Sql, params?: readonly Value[]): Promise<T[]>;
  write<T = Row>(sql: Sql, params?: readonly Value[]): Promise<WriteResult<T>>;
}

export interface Migration {
  id: string;
  name: string;
  /** Scripts: any number of statements, no parameters. */
  up: Sql;
  down: Sql;
  /** Unix milliseconds of its making; migrations are applied in this order, then by id. */
  timestamp: number;
}

/** What a database can do, so that nothing has to ask which database it is. */
export interface Capabilities {
  /** A transaction may wait for the application between its statements. */
  interactiveTransactions: boolean;
  /** Several transactions may write at the same time; otherwise they wait for one another. */
  concurrentWriters: boolean;
}

export interface DatabaseAdapter {
  /** Which text of a per-dialect pair this database takes. */
  readonly dialect: 'sqlite' | 'postgres';
  readonly capabilities: Capabilities;
  /** Runs a statement that returns rows and changes nothing. */
  query<T = Row>(sql: Sql, params?: readonly Value[]): Promise<T[]>;
  /** Runs one statement in a transaction of its own. @throws CrossfadeError OutcomeUnknown; the driver's errors */
  write<T = Row>(sql: Sql, params?: readonly Value[]): Promise<WriteResult<T>>;
  /** Commits what the callback did if it resolves, else nothing. @throws CrossfadeError OutcomeUnknown; what the callback throws */
  transaction<T>(callback: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Runs all operations in one transaction. @throws as `write` */
  batch(operations: readonly Operation[]): Promise<WriteResult[]>;
  /**
   * `up` applies those that the table `migrations` does not record, oldest first, `down` reverts those that it does,
   * newest first, each in a transaction of its own. Resolves to the ids.
   */
  migrate(migrations: readonly Migration[], direction?: 'up' | 'down'): Promise<string[]>;
  close(): Promise<void>;
}
