/** The part of `DatabaseConnection` that the application uses, so that tests may put a lying store in its place. */
import type { DatabaseConnection, Transaction } from '../../src/index.ts';

export type { Row, Sql, Value, WriteResult } from '../../src/index.ts';
export type Session = Transaction;
export type Store = Pick<DatabaseConnection, 'query' | 'write' | 'transaction' | 'batch' | 'primary'>;
