/** What a Worker imports from "crossfade/workers". */
export { DatabaseConnection, type DatabaseConnectionOptions, type RouterStatistics } from './connection.ts';
export type { D1Database, D1PreparedStatement, WorkerContext } from './d1.ts';
export { D1StatementError } from './errors.ts';
export type { ReaderKey, ReadOptions } from '../router/reads.ts';
export type { Alert, AlertKind, Log } from '../router/alerts.ts';
export type { OperationStatistics, RoutingStatistics } from '../router/statistics.ts';
export type { WriteOptions } from '../router/writes.ts';
export type { Operation, Row, Sql, Transaction, Value, WriteResult } from '../databases/adapter.ts';
export { PostgresAdapter, type PostgresAdapterOptions } from '../router/adapters/postgres.ts';
export { CrossfadeError, type ErrorCode } from '../errors.ts';
export type { Side } from '../contract.ts';
