/** Ends of a migration: finish, and the clean-up of the source after a rollback. */
import { existsSync } from 'node:fs';
import type pg from 'pg';
import type { TablePlan } from '../contract.ts';
import { CrossfadeError, driverCode } from '../errors.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import { dropGuardsSql } from '../databases/postgres/ddl.ts';
import { takeLease, type TargetLease } from '../databases/postgres/lease.ts';
import { removeTriggersSql } from '../databases/postgres/triggers.ts';
import { removeAll } from '../databases/sqlite/clean-up.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import {
  BATCH_TABLE,
  hasControl,
  holdOrTakeLease,
  LEASE_TABLE,
  LOG_TABLE,
  proveMigration,
  readControl,
  resumeTriggers,
  SUSPENDED_TABLE,
} from '../databases/sqlite/control.ts';
import { hasLog } from '../databases/sqlite/log.ts';
import { NUMBERING_TABLE } from '../databases/sqlite/numbering.ts';
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import type { Endpoints } from './endpoints.ts';
import { ReverseReplayer } from './reverse.ts';
import type { SourceLease } from './source-control.ts';
import { readPlan } from './store.ts';
import { leased } from './target-schema.ts';

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
  const targetLease: TargetLease = { ...lease, role: 'replay' };
  const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade finish' });
  try {
    if (await isFinished(client)) await takeLease(client, targetLease);
    else {
      await drainReverse(endpoints, lease);
      await setFinished(client, targetLease);
    }
    const plan = await readPlan(client);
    for (const table of plan.tables) await leaveTable(client, targetLease, table);
    await leased(client, targetLease, ['TRUNCATE crossfade.log']);
  } finally {
    await client.end();
  }
  await leaveSource(endpoints, lease, source);
}

/**
 * From here on nothing goes back, so the capture that is removed next cannot be missed by a rollback. A fence that a
 * rollback left, and whose deadline has passed, is none; within its deadline that rollback may still commit.
 */
async function setFinished(client: pg.Client, lease: TargetLease): Promise<void> {
  await leased(client, lease, [
    `UPDATE crossfade.control SET finished_at = clock_timestamp(), state = 'open', fence_token = NULL, deadline = NULL
      WHERE id = 1 AND epoch = ${lease.epoch} AND (state = 'open' OR state = 'fencing' AND clock_timestamp() >= deadline)`,
  ]);
  if (await isFinished(client)) return;
  throw new CrossfadeError(
    'OutcomeUnknown',
    `target: it is not primary in epoch ${lease.epoch} any more, so the migration cannot finish`,
  );
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
async function leaveTable(client: pg.Client, lease: TargetLease, table: TablePlan): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await leased(client, lease, [
        `SET LOCAL lock_timeout = '${DDL_LOCK_TIMEOUT}'`,
        ...removeTriggersSql(table),
        ...dropGuardsSql(table),
      ]);
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
    // No pause waits for what is left.
    await replayer.catchUp(performance.now() + CATCH_UP_MS, Number.POSITIVE_INFINITY);
  } finally {
    await replayer.close();
  }
}

async function leaveSource(
  endpoints: Endpoints,
  lease: SourceLease,
  source: 'fenced' | 'free',
): Promise<void> {
  const db = openSource(endpoints.sourcePath, 'write');
  try {
    await writeTransaction(db, () => {
      const control = readControl(db);
      // An earlier attempt has removed everything.
      if (control === null) return;
      proveMigration(lease, control.migration, `source ${db.name}`);
      // The leases go with the change log; what is left for a later attempt is the marker.
      if (hasLog(db)) holdOrTakeLease(db, lease);
      if (source === 'free') {
        removeAll(db);
        return;
      }
      resumeTriggers(db);
      for (const table of [LOG_TABLE, SUSPENDED_TABLE, NUMBERING_TABLE, LEASE_TABLE, BATCH_TABLE])
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
    // One transaction: by the time that a stale attempt wakes up, the next migration may have begun here.
    return await writeTransaction(db, () => {
      if (!hasControl(db)) return 'source: nothing of ours was there';
      const control = readControl(db);
      if (control?.migration !== migration) return 'source: belongs to another migration, left alone';
      if (control.state === 'moved') {
        throw new CrossfadeError(
          'OutcomeUnknown',
          `source ${db.name} is not primary: move the writes back first`,
        );
      }
      removeAll(db);
      return 'source: capture triggers, fence, change log and control row removed';
    });
  } finally {
    db.close();
  }
}
