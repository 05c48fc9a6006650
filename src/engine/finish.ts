/** Ends of a migration: finish, and the clean-up of the source after a rollback. */
import { existsSync } from 'node:fs';
import { CrossfadeError } from '../errors.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
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
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import type { Endpoints } from './endpoints.ts';
import { ReverseReplayer } from './reverse.ts';
import type { SourceLease } from './source-control.ts';
import { readPlan } from './store.ts';

/**
 * Ends reverse replication after one last drain, and with it the way back. The source keeps a read-only marker, or
 * nothing of ours. Idempotent.
 */
export async function finishMigration(
  endpoints: Endpoints,
  lease: SourceLease,
  source: 'fenced' | 'free',
): Promise<void> {
  const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade finish' });
  try {
    const { rows } = await client.query<{ finished: boolean }>(
      'SELECT finished_at IS NOT NULL AS finished FROM crossfade.control WHERE id = 1',
    );
    if (rows[0]?.finished !== true) {
      await drainReverse(endpoints, lease);
      const plan = await readPlan(client);
      await client.query(
        [
          ...plan.tables.flatMap(removeTriggersSql),
          'TRUNCATE crossfade.log',
          'UPDATE crossfade.control SET finished_at = clock_timestamp() WHERE id = 1',
        ].join(';\n'),
      );
    }
  } finally {
    await client.end();
  }
  await leaveSource(endpoints, source);
}

async function drainReverse(endpoints: Endpoints, lease: SourceLease): Promise<void> {
  const replayer = await ReverseReplayer.open(endpoints, lease);
  try {
    while ((await replayer.step()) > 0);
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
      for (const table of [LOG_TABLE, SUSPENDED_TABLE, LEASE_TABLE]) db.exec(`DROP TABLE IF EXISTS ${table}`);
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
