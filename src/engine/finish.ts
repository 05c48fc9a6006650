/** Ends of a migration: finish, and the clean-up of the source after a rollback. */
import { existsSync } from 'node:fs';
import type pg from 'pg';
import type { TablePlan } from '../contract.ts';
import { CrossfadeError, driverCode } from '../errors.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import { dropGuardsSql } from '../databases/postgres/ddl.ts';
import { removeTriggersSql } from '../databases/postgres/triggers.ts';
import { removeAll } from '../databases/sqlite/capture.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import {
  hasControl,
  LEASE_TABLE,
  LOG_TABLE,
  readControl,
  resumeTriggers,
  SUSPENDED_TABLE,
} from '../databases/sqlite/control.ts';
import { NUMBERING_TABLE } from '../databases/sqlite/numbering.ts';
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import type { Endpoints } from './endpoints.ts';
import { ReverseReplayer } from './reverse.ts';
import type { SourceLease } from './source-control.ts';
import { readPlan } from './store.ts';

/** How long the last catching up may take: the target keeps taking writes, so it has no end of its own. */
const CATCH_UP_MS = 60_000;
/** The target is primary: its writers wait for a trigger's removal no longer than this. */
const DDL_LOCK_TIMEOUT = '500ms';
const DDL_ATTEMPTS = 60;

/**
 * Ends reverse replication after one last drain, and with it the way back. The source keeps a read-only marker, or
 * nothing of ours. Idempotent.
 * @throws CrossfadeError OutcomeUnknown where the target is not primary
 */
export async function finishMigration(
  endpoints: Endpoints,
  lease: SourceLease,
  source: 'fenced' | 'free',
): Promise<void> {
  const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade finish' });
  try {
    if (!(await isFinished(client))) {
      await drainReverse(endpoints, lease);
      // From here on nothing goes back, so the capture that is removed next cannot be missed by a rollback.
      const { rowCount } = await client.query(
        `UPDATE crossfade.control SET finished_at = clock_timestamp() WHERE id = 1 AND state = 'open' AND epoch = $1`,
        [lease.epoch],
      );
      if (rowCount !== 1) {
        throw new CrossfadeError(
          'OutcomeUnknown',
          `target: it is not primary in epoch ${lease.epoch} any more, so the migration cannot finish`,
        );
      }
    }
    const plan = await readPlan(client);
    for (const table of plan.tables) await leaveTable(client, table);
    await client.query('TRUNCATE crossfade.log');
  } finally {
    await client.end();
  }
  await leaveSource(endpoints, source);
}

async function isFinished(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ finished: boolean }>(
    'SELECT finished_at IS NOT NULL AS finished FROM crossfade.control WHERE id = 1',
  );
  return rows[0]?.finished === true;
}

/**
 * Removes triggers and guards, one table at a time and not waiting long for its lock, behind which the application's
 * statements would queue.
 */
async function leaveTable(client: pg.Client, table: TablePlan): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await client.query(
        [
          `SET LOCAL lock_timeout = '${DDL_LOCK_TIMEOUT}'`,
          ...removeTriggersSql(table),
          ...dropGuardsSql(table),
        ].join(';\n'),
      );
      return;
    } catch (error) {
      // 55P03 lock not available, 40P01 deadlock.
      if (!['55P03', '40P01'].includes(driverCode(error)) || attempt === DDL_ATTEMPTS) throw error;
      await client.query('SELECT pg_sleep(0.5)');
    }
  }
}

async function drainReverse(endpoints: Endpoints, lease: SourceLease): Promise<void> {
  const replayer = await ReverseReplayer.open(endpoints, lease);
  try {
    await replayer.catchUp(performance.now() + CATCH_UP_MS);
  } finally {
    await replayer.close();
  }
}

async function leaveSource(endpoints: Endpoints, source: 'fenced' | 'free'): Promise<void> {
  const db = openSource(endpoints.sourcePath, 'write');
  try {
    await writeTransaction(db, () => {
      if (source === 'free') {
        removeAll(db);
        return;
      }
      resumeTriggers(db);
      for (const table of [LOG_TABLE, SUSPENDED_TABLE, NUMBERING_TABLE, LEASE_TABLE])
        db.exec(`DROP TABLE IF EXISTS ${table}`);
    });
  } finally {
    db.close();
  }
}

/**
 * Removes every trigger, table and row of ours from the source after a rollback.
 * @throws CrossfadeError OutcomeUnknown where the source is not primary: then its fence must stay
 */
export async function cleanSource(endpoints: Endpoints, migration: string): Promise<string> {
  if (!existsSync(endpoints.sourcePath)) return 'source: the file is gone, nothing to remove';
  const db = openSource(endpoints.sourcePath, 'write');
  try {
    if (!hasControl(db)) return 'source: nothing of ours was there';
    if (readControl(db)?.migration !== migration) return 'source: belongs to another migration, left alone';
    await writeTransaction(db, () => {
      const control = readControl(db);
      if (control?.state === 'moved') {
        throw new CrossfadeError(
          'OutcomeUnknown',
          `source ${db.name} is not primary: move the writes back first`,
        );
      }
      removeAll(db);
    });
    return 'source: capture triggers, fence, change log and control row removed';
  } finally {
    db.close();
  }
}
