/**
 * Rollback after the cutover: the same protocol with the roles exchanged, and the target's control row deciding. Every
 * write that the target accepted is in the source before the source opens.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import type pg from 'pg';
import type { CutoverReport } from '../contract.ts';
import { CrossfadeError, messageOf, type ErrorCode } from '../errors.ts';
import { readQuarantine } from '../databases/postgres/apply.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import { readControl as readTargetControl } from '../databases/postgres/control.ts';
import { holdLeaseSql, leaseError, type TargetLease } from '../databases/postgres/lease.ts';
import { nameOnTarget, targetTable } from '../databases/postgres/names.ts';
import { FENCE_LOCK_KEY, type SourceControlRow } from '../protocol.ts';
import { schemaFingerprint } from '../databases/sqlite/fingerprint.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { refreshed } from '../databases/sqlite/origin.ts';
import {
  holdLease,
  openAgain,
  proveMigration,
  readControl as readSourceControl,
  takeLease,
} from '../databases/sqlite/control.ts';
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import { backupPathOf } from './backup.ts';
import { liftFence as liftSourceFence, rollForward } from './cutover.ts';
import type { Endpoints } from './endpoints.ts';
import { quarantineText } from './quarantine.ts';
import { ReverseReplayer } from './reverse.ts';
import type { SourceLease } from './source-control.ts';
import { targetFault } from './target-watch.ts';
import { within } from './within.ts';

/** How long reverse replay may take to catch up before the fence; nobody waits for it. */
const CATCH_UP_MS = 5 * 60_000;
/** Of the pause: one step of reverse replay, in which the fence's wait and the commit point have to find their time as well. */
const LONGEST_STEP_SHARE = 0.25;
/** The rows that decide are read and changed by statements that are answered at once. */
const DECIDING = { applicationName: 'crossfade rollback', answerMs: 5_000 };
/** A target that says nothing about this migration's writes. */
const UNTOLD: ErrorCode[] = ['TargetUnreachable', 'NoMigration', 'MigrationExists'];

export interface WritesBackOptions {
  endpoints: Endpoints;
  /** Lease `reverse` in the source, of the epoch in which the target is primary. */
  lease: SourceLease;
  maxPauseMs: number;
}

/**
 * Moves the writes from the target back to the source.
 * @returns `returned` with the reason where the target is still primary
 * @throws CrossfadeError RollbackImpossible, LeaseLost, connection errors; a later attempt reads the rows and goes on
 */
export async function moveWritesBack(options: WritesBackOptions): Promise<CutoverReport> {
  const { endpoints } = options;
  const source = await sourceOrMoved(options);
  if (source?.state !== 'moved') {
    await proveNotRestored(options, source);
    const epoch = source?.epoch ?? options.lease.epoch;
    const reason =
      epoch > options.lease.epoch
        ? 'the writes have been moved back to the source before'
        : 'the writes never left the source';
    return { outcome: 'moved', epoch, pauseMs: 0, drained: 0, reason };
  }
  const before = await targetRow(options);
  if (before.finished) throw finished(options);
  if (before.state === 'moved') {
    await openSourceAgain(options, before.epoch);
    return { outcome: 'moved', epoch: before.epoch, pauseMs: 0, drained: 0 };
  }
  // The row says in which epoch the target is primary; a caller whose cutover ended unknown may not know.
  const lease = { ...options.lease, epoch: source.epoch };
  const replayer = await ReverseReplayer.open(endpoints, lease);
  try {
    return await moveBack({ ...options, lease }, replayer);
  } finally {
    await replayer.close();
  }
}

/**
 * The source's row, which alone decides whether the writes have left it. Where it has not passed its commit point, it
 * cannot do so any more: the lease of a cutover that may still be under way is taken, and its fence lifted. Where it
 * has, the target is opened first, if nobody has done so: the way back begins at a target that is primary.
 */
async function sourceOrMoved({ endpoints, lease }: WritesBackOptions): Promise<SourceControlRow | null> {
  const db = openSource(endpoints.sourcePath, 'write');
  try {
    const row = await writeTransaction(db, () => {
      const found = readSourceControl(db);
      proveMigration(lease, found?.migration, `source ${db.name}`);
      if (found === null || found.state === 'moved') return found;
      takeLease(db, { ...lease, role: 'control', epoch: found.epoch });
      liftSourceFence(db, found.epoch);
      return found;
    });
    if (row?.state === 'moved') await rollForward(endpoints, db);
    return row;
  } finally {
    db.close();
  }
}

/**
 * A source that was put back to a time before the cutover says that it is primary; the target, which nobody but that
 * source's moved row can have opened, knows better. Nothing can be concluded from a target that does not answer.
 * @throws CrossfadeError LogDiscontinuity
 */
async function proveNotRestored(options: WritesBackOptions, source: SourceControlRow | null): Promise<void> {
  let target: Awaited<ReturnType<typeof targetRow>>;
  try {
    target = await targetRow(options);
  } catch (error) {
    if (!(error instanceof CrossfadeError) || UNTOLD.includes(error.code)) return;
    throw error;
  }
  const opened = ['open', 'fencing'].includes(target.state) && target.epoch > (source?.epoch ?? 0);
  if (!opened) return;
  if (target.finished) throw finished(options);
  throw new CrossfadeError(
    'LogDiscontinuity',
    `source ${options.endpoints.sourcePath} is from before the cutover, but the target is primary (epoch ${target.epoch}): ` +
      'the file was restored or replaced; put the newer file back, then roll back again',
  );
}

async function moveBack(options: WritesBackOptions, replayer: ReverseReplayer): Promise<CutoverReport> {
  const { lease, maxPauseMs } = options;
  const { client } = replayer;
  const token = randomBytes(16).toString('hex');
  const returned = (reason: string): CutoverReport => ({
    outcome: 'returned',
    epoch: lease.epoch,
    pauseMs: 0,
    drained: 0,
    reason: `the rollback of the writes returned to the state before it: ${reason}`,
  });
  await replayer.mend();
  if (!(await replayer.catchUp(performance.now() + CATCH_UP_MS, maxPauseMs * LONGEST_STEP_SHARE))) {
    return returned('reverse replay does not catch up with the writes');
  }
  const refused = await refusedRow(replayer);
  if (refused !== null) return returned(refused);
  const fault = await targetFault(client, replayer.plan);
  if (fault !== null) throw fault;
  if (schemaFingerprint(replayer.db) !== replayer.plan.fingerprint) {
    throw new CrossfadeError(
      'SchemaChanged',
      `source ${replayer.db.name}: the schema changed after the cutover; undo the change, then roll back again`,
    );
  }
  const appliedBefore = replayer.applied;
  const fencedAt = performance.now();
  try {
    await within(
      fencedAt + maxPauseMs,
      drainAndCommit(replayer, token, maxPauseMs),
      () => new Error(`the drain did not end within ${maxPauseMs} ms`),
    );
  } catch (error) {
    if (!(await isMoved(options, token))) {
      return { ...returned(messageOf(error)), pauseMs: Math.round(performance.now() - fencedAt) };
    }
  }
  await openSourceAgain(options, lease.epoch + 1);
  return {
    outcome: 'moved',
    epoch: lease.epoch + 1,
    pauseMs: Math.round(performance.now() - fencedAt),
    drained: replayer.applied - appliedBefore,
  };
}

/** Why there is no way back any more, and what is left instead. */
function finished({ endpoints, lease }: WritesBackOptions): CrossfadeError {
  const backup = backupPathOf(endpoints.sourcePath, lease.migration ?? '');
  const offer = existsSync(backup)
    ? `the backup ${backup} has what the source had at ${statSync(backup).mtime.toISOString()}, before the copy, and nothing since`
    : `the backup is not at ${backup} any more`;
  return new CrossfadeError(
    'RollbackImpossible',
    'the migration is finished: nothing goes back from the target any more, so the source lacks what was written since; ' +
      `${offer}. To have the newest rows in SQLite again, copy them from the target`,
  );
}

async function drainAndCommit(replayer: ReverseReplayer, token: string, maxPauseMs: number): Promise<void> {
  await fenceTarget(replayer.client, replayer.targetLease, token, maxPauseMs);
  while ((await replayer.step()) > 0);
  const late = await refusedRow(replayer);
  if (late !== null) throw new Error(late);
  await advanceSourceSequences(replayer);
  if (await commit(replayer, token)) return;
  throw new Error('a write was accepted before the commit point, or the fence had lifted');
}

/**
 * What became of an attempt whose answer was lost, or did not come in time: it may still be about to commit. Lifting its
 * fence decides, because the commit point needs it; where there is none to lift, the row tells how it ended.
 */
async function isMoved(options: WritesBackOptions, token: string): Promise<boolean> {
  const { endpoints, lease } = options;
  if (await liftFence(endpoints, lease.epoch, token)) return false;
  const row = await targetRow(options);
  return row.state === 'moved' && row.epoch === lease.epoch + 1;
}

/** Says which row the source cannot hold, so that it would be lost on the way back; null where there is none. */
async function refusedRow({ client, plan }: ReverseReplayer): Promise<string | null> {
  const [first] = await readQuarantine(client, 1);
  if (first === undefined) return null;
  return `the source refuses a row of ${quarantineText(first, plan.tables)}; change or delete it on the target`;
}

/**
 * Waits for every write transaction that has passed the fence's trigger, and keeps out the next.
 * @throws CrossfadeError LeaseLost; Error where the target is not open in this epoch; pg.DatabaseError 55P03 where writers hold on too long
 */
export async function fenceTarget(
  client: pg.Client,
  lease: TargetLease,
  token: string,
  maxPauseMs: number,
): Promise<void> {
  const { epoch } = lease;
  await client.query('BEGIN');
  try {
    // The pause begins here: from now on writers queue behind the lock.
    const { rows } = await client.query<{ asked: string }>(
      `SELECT set_config('lock_timeout', $1, true), clock_timestamp()::text AS asked`,
      [`${Math.ceil(maxPauseMs / 2)}ms`],
    );
    await client.query(`SELECT pg_advisory_xact_lock(${FENCE_LOCK_KEY})`);
    const fenced = await client.query(
      `UPDATE crossfade.control SET state = 'fencing', fence_token = $1,
              deadline = $2::timestamptz + $3 * interval '1 millisecond'
        WHERE id = 1 AND state IN ('open', 'fencing') AND epoch = $4 AND finished_at IS NULL`,
      [token, rows[0]!.asked, maxPauseMs, epoch],
    );
    if (fenced.rowCount !== 1) throw new Error(`the target is not open in epoch ${epoch}`);
    await client.query(holdLeaseSql(lease));
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw leaseError(error);
  }
}

/**
 * The commit point. Under the exclusive lock no writer is under way, the deadline has not passed, so none was let in
 * since the fence, and an empty log says that everything before it is applied.
 */
async function commit({ client, plan, targetLease }: ReverseReplayer, token: string): Promise<boolean> {
  await client.query('BEGIN');
  try {
    await client.query(`SELECT pg_advisory_xact_lock(${FENCE_LOCK_KEY})`);
    // DDL cannot be fenced: a table without our triggers has taken writes that no log tells of.
    const fault = await targetFault(client, plan);
    if (fault !== null) throw fault;
    const moved = await client.query(
      `UPDATE crossfade.control SET state = 'moved', epoch = epoch + 1, fence_token = NULL
        WHERE id = 1 AND state = 'fencing' AND fence_token = $1 AND epoch = $2 AND clock_timestamp() < deadline
          AND finished_at IS NULL AND NOT EXISTS (SELECT 1 FROM crossfade.log)`,
      [token, targetLease.epoch],
    );
    await client.query(holdLeaseSql(targetLease));
    await client.query('COMMIT');
    return moved.rowCount === 1;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw leaseError(error);
  }
}

/** Waits for a commit point that is under way. @returns whether there was that fence, and it is lifted */
async function liftFence(endpoints: Endpoints, epoch: number, token: string): Promise<boolean> {
  const client = await connectTarget(endpoints.targetUrl, DECIDING);
  try {
    const lifted = await client.query(
      `UPDATE crossfade.control SET state = 'open', fence_token = NULL, deadline = NULL
        WHERE id = 1 AND state = 'fencing' AND fence_token = $1 AND epoch = $2`,
      [token, epoch],
    );
    return lifted.rowCount === 1;
  } finally {
    await client.end();
  }
}

async function openSourceAgain({ endpoints, lease }: WritesBackOptions, epoch: number): Promise<void> {
  const db = openSource(endpoints.sourcePath, 'write');
  try {
    await refreshed(db);
    const row = readSourceControl(db);
    // No row: an earlier attempt opened the source and has already removed everything of ours.
    if (row === null) return;
    proveMigration(lease, row.migration, `source ${db.name}`);
    if (row.state !== 'moved' && row.epoch >= epoch) return;
    if (!(await writeTransaction(db, () => openAgain(db, row.migration, epoch)))) {
      throw new CrossfadeError(
        'OutcomeUnknown',
        `source ${db.name} does not open with epoch ${epoch}; its control row was changed`,
      );
    }
  } finally {
    db.close();
  }
}

/** AUTOINCREMENT goes on after the greatest number that the target has given out, its row deleted or not. */
async function advanceSourceSequences(replayer: ReverseReplayer): Promise<void> {
  const { client, db, plan } = replayer;
  const handedOut = new Map<string, bigint>();
  for (const table of plan.tables) {
    const identity = table.columns.find((column) => column.identity);
    if (!table.autoincrement || identity === undefined) continue;
    const { rows } = await client.query<{ last: string | null }>(
      `SELECT pg_sequence_last_value(pg_get_serial_sequence($1, $2)::regclass)::text AS last`,
      [targetTable(table), nameOnTarget(identity)],
    );
    const last = rows[0]?.last;
    if (last !== null && last !== undefined) handedOut.set(table.name, BigInt(last));
  }
  if (handedOut.size === 0) return;
  await writeTransaction(db, () => {
    holdLease(db, replayer.lease);
    const raise = db.prepare('UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?');
    const add = db.prepare('INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)');
    for (const [name, last] of handedOut) if (raise.run(last, name).changes === 0) add.run(name, last);
  });
}

async function targetRow({
  endpoints,
  lease,
}: WritesBackOptions): Promise<{ state: string; epoch: number; finished: boolean }> {
  const client = await connectTarget(endpoints.targetUrl, DECIDING);
  try {
    const row = await readTargetControl(client);
    if (row === null) throw new CrossfadeError('NoMigration', 'the target has no control row of a migration');
    proveMigration(lease, row.migration, 'target');
    return row;
  } finally {
    await client.end();
  }
}
