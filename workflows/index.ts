/** Everything that a worker runs as a workflow. */
export { migrateDatabase } from './migrate-database.ts';
export { rollbackMigration } from './rollback-migration.ts';
export { verifyDatabases } from './verify-databases.ts';
