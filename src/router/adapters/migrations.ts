/** Applies and reverts schema migrations, recorded in the table `migrations` of the same database. */
import type { Migration, Sql, Transaction } from '../../databases/adapter.ts';
import { CrossfadeError, messageOf } from '../../errors.ts';

/** A transaction that also runs a script: any number of statements, no parameters. */
export interface ScriptTransaction extends Transaction {
  script(sql: Sql): Promise<void>;
}

type InTransaction = <T>(work: (tx: ScriptTransaction) => Promise<T>) => Promise<T>;

const CREATE = `CREATE TABLE IF NOT EXISTS migrations (id TEXT PRIMARY KEY, name TEXT NOT NULL, timestamp BIGINT NOT NULL)`;

/** Instances that start together migrate one after the other; SQLite's write lock does the same. Bytes of "migrate\0". */
const LOCK: Sql = { sqlite: 'SELECT 1', postgres: 'SELECT pg_advisory_xact_lock(7883941624427734272)' };

/**
 * @returns ids of the migrations that were applied or reverted, in that order
 * @throws CrossfadeError InvalidInput for an id that occurs twice; an Error with the migration's name and the driver's as cause
 */
export async function runMigrations(
  inTransaction: InTransaction,
  migrations: readonly Migration[],
  direction: 'up' | 'down',
): Promise<string[]> {
  const done: string[] = [];
  for (const migration of inOrder(migrations, direction)) {
    // Looked up again in each transaction: another instance may have been faster.
    const ran = await inTransaction(async (tx) => {
      await tx.query(LOCK);
      await tx.script(CREATE);
      const recorded = await tx.query('SELECT id FROM migrations WHERE id = ?', [migration.id]);
      if (recorded.length > 0 === (direction === 'up')) return false;
      try {
        await tx.script(migration[direction]);
      } catch (error) {
        throw new Error(`migration ${migration.id} (${migration.name}), ${direction}: ${messageOf(error)}`, {
          cause: error,
        });
      }
      if (direction === 'up') {
        await tx.write('INSERT INTO migrations (id, name, timestamp) VALUES (?, ?, ?)', [
          migration.id,
          migration.name,
          Date.now(),
        ]);
      } else await tx.write('DELETE FROM migrations WHERE id = ?', [migration.id]);
      return true;
    });
    if (ran) done.push(migration.id);
  }
  return done;
}

/** Oldest first to apply, newest first to revert. @throws CrossfadeError InvalidInput for an id that occurs twice */
export function inOrder(migrations: readonly Migration[], direction: 'up' | 'down'): Migration[] {
  const ordered = [...migrations].sort((a, b) => a.timestamp - b.timestamp || (a.id < b.id ? -1 : 1));
  const ids = new Set(ordered.map((migration) => migration.id));
  if (ids.size !== ordered.length) {
    throw new CrossfadeError('InvalidInput', 'two migrations have the same id: rename one of them');
  }
  return direction === 'up' ? ordered : ordered.reverse();
}
