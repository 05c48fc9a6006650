/** What the rows of docs/queries.md are shown with. */
import type { Sql, Value } from '../../src/databases/adapter.ts';

export interface Read {
  /** The first cell of its row in docs/queries.md. */
  title: string;
  sql: string;
  params?: Value[];
  /** What each answers, row after row, value after value; for PostgreSQL a text beginning with ! is an SQLSTATE. */
  sqlite: unknown[];
  postgres: unknown[] | string;
  /** What to write on both; without values it answers what SQLite did. */
  instead: [sql: Sql, params?: Value[], values?: unknown[]][];
}

export interface Write {
  title: string;
  sql: string;
  params?: Value[];
  /** SQLSTATE on PostgreSQL. */
  postgres: string;
  instead: [sql: Sql, params?: Value[]][];
}
