/** The part of `DatabaseConnection` that the application uses, so that tests may put a lying store in its place. */
import type { DatabaseConnection, Transaction } from '../../src/index.ts';

export type { Row, Sql, Value, WriteResult } from '../../src/index.ts';
export type Session = Transaction;
export interface Store extends Pick<DatabaseConnection, 'query' | 'write' | 'batch' | 'primary'> {
  /** Missing where a transaction does not wait for the application between two statements. */
  transaction?: DatabaseConnection['transaction'];
  /** The store as one user has it, where users have something of their own. */
  forUser?(): Store;
}
