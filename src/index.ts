/** What an application imports from "crossfade". */
export {
  DatabaseConnection,
  type DatabaseConnectionOptions,
  type RouterStatistics,
} from './router/connection.ts';
export type { ReaderKey, ReadOptions } from './router/reads.ts';
export type { Alert, AlertKind } from './router/alerts.ts';
export type { OperationStatistics, RoutingStatistics } from './router/statistics.ts';
export type { WriteOptions } from './router/writes.ts';
export { SqliteAdapter, type SqliteAdapterOptions } from './router/adapters/sqlite.ts';
export { PostgresAdapter, type PostgresAdapterOptions } from './router/adapters/postgres.ts';
export type {
  Capabilities,
  DatabaseAdapter,
  Migration,
  Operation,
  Row,
  Sql,
  Transaction,
  Value,
  WriteResult,
} from './databases/adapter.ts';
export { CrossfadeError, type ErrorCode } from './errors.ts';
export type { MigrationInput, MigrationReport, MigrationStatus, Side, Verdict } from './contract.ts';
