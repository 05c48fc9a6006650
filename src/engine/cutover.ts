/**
 * Cutover: the source's control row goes open → fencing → moved, and only that last compare-and-swap, the commit point,
 * makes the target primary. Before it, anything that goes wrong lifts the fence; after it, only roll forward.
 * The numbered steps are those of docs/protocol.md.
 */
import { randomBytes } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { CutoverReport, Mismatch } from '../contract.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import { readQuarantine } from '../databases/postgres/apply.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import { readControl as readTargetControl } from '../databases/postgres/control.ts';
import type { TargetLease } from '../databases/postgres/lease.ts';
import { missingPrivilege } from '../databases/postgres/privileges.ts';
import { installCaptureSql } from '../databases/postgres/triggers.ts';
import { dropCapture } from '../databases/sqlite/capture.ts';
import { dropFence, installFence } from '../databases/sqlite/fence.ts';
import { suspendTriggers } from '../databases/sqlite/suspend-triggers.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { CONTROL_TABLE, holdLease, LEASE_TABLE, NOW_MS, takeLease } from '../databases/sqlite/control.ts';
import { logHead } from '../databases/sqlite/log.ts';
import { refreshed } from '../databases/sqlite/origin.ts';
import { sqliteSequences } from '../databases/sqlite/sequences.ts';
import { writeTransaction } from '../databases/sqlite/transaction.ts';
import { proveWal } from '../databases/sqlite/wal-file.ts';
import type { Endpoints } from './endpoints.ts';
import { quarantineFigures } from './quarantine.ts';
import { Replayer } from './replay.ts';
import { sourceFault, type SourceLease } from './source-control.ts';
import { readCheckpoint } from './store.ts';
import { advanceSequences, leased } from './target-schema.ts';
import { Verifier } from './verify.ts';
import { within } from './within.ts';

export interface CutoverOptions {
  endpoints: Endpoints;
  /** Lease `replay` in the target; taking it ends the replay that ran until now. */
  replayLease: TargetLease;
  /** Lease `control` in the source. */
  sourceLease: SourceLease;
  maxPauseMs: number;
  signal: AbortSignal;
}

/** How long replay may take to catch up before the fence; nobody waits for it. */
const CATCH_UP_MS = 5 * 60_000;
/** A step of replay that took no longer than this share of the pause leaves so little behind that the pause suffices. */
const SHORT_STEP_SHARE = 0.05;
/** The drain may use this share of the pause; the rest is for the checks and the commit point. */
const DRAIN_SHARE = 0.6;
/** Nobody takes writes until the target is open: where an answer is lost on its way, the next attempt must not wait. */
const OPENING = { applicationName: 'crossfade open', answerMs: 5_000 };

interface MovedRow {
  state: string;
  epoch: number;
  open_token: string | null;
  /** Milliseconds since the fence was set. */
  since_fence: number | null;
}

/**
 * Moves the writes from the source to the target.
 * @returns `returned` with the reason where the state before the cutover holds again
 * @throws CrossfadeError LeaseLost, connection errors; a later attempt reads the source's row and goes on from it
 */
export async function cutOver(options: CutoverOptions): Promise<CutoverReport> {
  const { endpoints } = options;
  const db = openSource(endpoints.sourcePath, 'write');
  try {
    const row = await begin(db, options);
    if (row.state === 'moved') {
      // An attempt before this one passed the commit point and died: only roll forward.
      await openTarget(endpoints, row.epoch, row.open_token ?? '');
      return { outcome: 'moved', epoch: row.epoch, pauseMs: Math.round(row.since_fence ?? 0), drained: 0 };
    }
    const replayer = await Replayer.open(endpoints, options.replayLease);
    try {
      const verifier = await Verifier.open(endpoints, 'crossfade cutover');
      try {
        return await new Cutover(options, db, replayer, verifier).run();
      } finally {
        await verifier.close();
      }
    } finally {
      await replayer.close();
    }
  } finally {
    db.close();
  }
}

/**
 * Takes the lease in the transaction that looks at the row: an attempt before this one can neither fence nor commit
 * after it, and if it has passed the commit point already, the row says so. A fence that it left is lifted.
 */
function begin(db: Database.Database, options: CutoverOptions): Promise<MovedRow> {
  return writeTransaction(db, () => {
    const row = readRow(db, options.maxPauseMs);
    if (row.state !== 'moved') {
      takeLease(db, options.sourceLease);
      liftFence(db, options.sourceLease.epoch);
    }
    return row;
  });
}

class Cutover {
  private readonly options: CutoverOptions;
  private readonly db: Database.Database;
  private readonly replayer: Replayer;
  private readonly verifier: Verifier;
  private readonly token = randomBytes(16).toString('hex');
  private verified = 0n;

  constructor(options: CutoverOptions, db: Database.Database, replayer: Replayer, verifier: Verifier) {
    this.options = options;
    this.db = db;
    this.replayer = replayer;
    this.verifier = verifier;
  }

  async run(): Promise<CutoverReport> {
    try {
      await this.prepare();
    } catch (error) {
      if (error instanceof CrossfadeError && error.code === 'CutoverReturned') return this.report(error, 0);
      throw error;
    }
    const before = this.replayer.applied;
    const fencedAt = await this.fence();
    const { epoch: from } = this.options.sourceLease;
    try {
      const deadline = fencedAt + this.options.maxPauseMs;
      await within(deadline, this.drainAndCheck(fencedAt), () =>
        this.returned(`the drain did not end within ${this.options.maxPauseMs} ms`),
      );
      await this.commit(deadline - performance.now());
    } catch (error) {
      await refreshed(this.db);
      const moved = readRow(this.db, this.options.maxPauseMs);
      // The commit's reply may be lost; the row tells what happened.
      if (moved.state !== 'moved' || moved.open_token !== this.token) {
        await writeTransaction(this.db, () => liftFence(this.db, from, this.token));
        return this.report(error, performance.now() - fencedAt);
      }
    }
    const epoch = from + 1;
    await openTarget(this.options.endpoints, epoch, this.token);
    const pauseMs = Math.round(performance.now() - fencedAt);
    return { outcome: 'moved', epoch, pauseMs, drained: this.replayer.applied - before };
  }

  /** The state before the cutover holds again. */
  private report(error: unknown, pauseMs: number): CutoverReport {
    const reason =
      error instanceof CrossfadeError && error.code === 'CutoverReturned'
        ? error.message
        : this.returned(messageOf(error)).message;
    const { epoch } = this.options.sourceLease;
    return { outcome: 'returned', epoch, pauseMs: Math.round(pauseMs), drained: 0, reason };
  }

  /** Step 1: everything that needs no fence. */
  private async prepare(): Promise<void> {
    const { replayer } = this;
    const { client, lease } = replayer.applier;
    await replayer.requireWholeBatches();
    await this.catchUp();
    this.verified = (await readCheckpoint(client)).verifiedPosition ?? 0n;
    await this.verifyChanges();
    const { quarantined, quarantine } = await quarantineFigures(client, replayer.plan.tables);
    if (quarantined > 0) {
      throw this.returned(
        `${quarantined} rows are in quarantine, the first in ${quarantine[0]!}; change them in the source, and replay takes them out`,
      );
    }
    const missing = await missingPrivilege(client, replayer.plan);
    if (missing !== null) throw this.returned(missing);
    const { findings } = await this.verifier.schema();
    const [deviation] = findings;
    if (deviation !== undefined) {
      throw this.returned(
        `the target's schema is not the planned one: table "${deviation.table}": ${deviation.what}` +
          (findings.length > 1 ? `, and ${findings.length - 1} more (crossfade verify names them)` : ''),
      );
    }
    this.proveSource();
    // The reverse path is proved before anyone depends on it: capture in place and its log writable, source writable.
    await leased(client, lease, replayer.plan.tables.flatMap(installCaptureSql));
    await client.query('BEGIN; INSERT INTO crossfade.log (table_id, key) VALUES (0, NULL); ROLLBACK');
    await advanceSequences(client, lease, replayer.plan, this.handedOut());
    await leased(client, lease, [
      `UPDATE crossfade.control SET open_hash = encode(sha256(convert_to('${this.token}', 'UTF8')), 'hex')
        WHERE id = 1 AND state = 'standby' AND epoch = ${lease.epoch}`,
    ]);
    await this.catchUp();
    await this.verifyChanges();
  }

  /** Step 2: the fence, with a deadline at which it lifts itself. @returns when it was set, by performance.now() */
  private async fence(): Promise<number> {
    const { sourceLease, maxPauseMs } = this.options;
    let at = 0;
    await writeTransaction(this.db, () => {
      at = performance.now();
      holdLease(this.db, sourceLease);
      installFence(this.db, this.replayer.plan.tables);
      const fenced = this.db
        .prepare(
          `UPDATE ${CONTROL_TABLE} SET state = 'fencing', fence_token = ?, deadline = ${NOW_MS} + ?, open_token = NULL
            WHERE id = 1 AND state = 'open' AND epoch = ?`,
        )
        .run(this.token, maxPauseMs, sourceLease.epoch);
      if (fenced.changes !== 1)
        throw new CrossfadeError('LeaseLost', `source ${this.db.name} is not open any more`);
    });
    return at;
  }

  /** Steps 3 and 4: the final position is read after the fence, and replayed to; then what changed last is compared. */
  private async drainAndCheck(fencedAt: number): Promise<void> {
    const final = logHead(this.db).position;
    await this.replayer.drainTo(final, fencedAt + this.options.maxPauseMs * DRAIN_SHARE);
    await this.verifyChanges();
    if ((await readQuarantine(this.replayer.applier.client, 1)).length > 0) {
      throw this.returned('a row that changed last has no exact form on the target and is in quarantine');
    }
    const { client, lease } = this.replayer.applier;
    await advanceSequences(client, lease, this.replayer.plan, this.handedOut());
  }

  /** Step 5, the commit point: one compare-and-swap, where everything that was checked is still so. */
  private async commit(timeoutMs: number): Promise<void> {
    const { sourceLease } = this.options;
    const applied = this.replayer.checkpoint;
    await writeTransaction(
      this.db,
      () => {
        holdLease(this.db, sourceLease);
        const head = logHead(this.db);
        if (head.position !== applied.position || head.token !== applied.token) {
          throw this.returned(
            `a write passed the fence (log position ${head.position}, applied ${applied.position})`,
          );
        }
        this.proveSource();
        const moved = this.db
          .prepare(
            `UPDATE ${CONTROL_TABLE} SET state = 'moved', epoch = epoch + 1, open_token = ?, read_percent = 100, dual_writes = 0
              WHERE id = 1 AND state = 'fencing' AND fence_token = ? AND epoch = ? AND ${NOW_MS} < deadline`,
          )
          .run(this.token, this.token, sourceLease.epoch);
        if (moved.changes !== 1) throw this.returned('the fence had lifted before the commit point');
        this.db.prepare(`UPDATE ${LEASE_TABLE} SET epoch = epoch + 1, holder = ''`).run();
        // Rows that come back from the target must neither be logged nor set off the application's triggers.
        dropCapture(this.db);
        suspendTriggers(this.db, this.replayer.plan.tables);
      },
      Math.max(1, timeoutMs),
    );
  }

  /** Applies until a step is short: while the source takes writes there may always be one more. */
  private async catchUp(): Promise<void> {
    const giveUpAt = performance.now() + CATCH_UP_MS;
    const shortMs = this.options.maxPauseMs * SHORT_STEP_SHARE;
    for (;;) {
      const started = performance.now();
      if (this.options.signal.aborted) throw this.returned('the cutover was cancelled before its fence');
      if ((await this.replayer.step()) === 0 || performance.now() - started < shortMs) return;
      if (performance.now() > giveUpAt) throw this.returned('replay does not catch up with the writes');
    }
  }

  private async verifyChanges(): Promise<void> {
    const { position, mismatches } = await this.verifier.verifyChanges(this.verified);
    this.verified = position;
    if (mismatches.length > 0) throw this.returned(`the databases differ: ${shown(mismatches[0]!)}`);
  }

  private proveSource(): void {
    proveWal(this.db.name);
    const fault = sourceFault(this.db, this.replayer.plan);
    if (fault !== null) throw this.returned(fault.message, fault);
  }

  /** Greatest AUTOINCREMENT number per table that the source ever gave out. */
  private handedOut(): Map<string, bigint> {
    return sqliteSequences(this.db);
  }

  private returned(reason: string, cause?: unknown): CrossfadeError {
    return new CrossfadeError(
      'CutoverReturned',
      `the cutover returned to the state before it: ${reason}`,
      cause,
    );
  }
}

function shown(mismatch: Mismatch): string {
  const column = mismatch.column === undefined ? '' : `, column "${mismatch.column}"`;
  return `table "${mismatch.table}", key ${mismatch.key}${column}, ${mismatch.kind}`;
}

/**
 * Lifts a fence of this epoch; nothing happens where there is none or the commit point was passed. Runs in the
 * caller's write transaction.
 * @param token lifts the fence of that attempt only
 */
export function liftFence(db: Database.Database, epoch: number, token: string | null = null): void {
  const lifted = db
    .prepare(
      `UPDATE ${CONTROL_TABLE} SET state = 'open', fence_token = NULL, deadline = NULL
        WHERE id = 1 AND state = 'fencing' AND epoch = ? AND (? IS NULL OR fence_token = ?)`,
    )
    .run(epoch, token, token);
  if (lifted.changes === 1) dropFence(db);
}

function readRow(db: Database.Database, maxPauseMs: number): MovedRow {
  const row = db
    .prepare(
      `SELECT state, epoch, open_token, ${NOW_MS} - (deadline - ?) AS since_fence FROM ${CONTROL_TABLE} WHERE id = 1`,
    )
    .get(maxPauseMs) as MovedRow | undefined;
  if (row === undefined) {
    throw new CrossfadeError(
      'NoMigration',
      `source ${db.name} has no control row: the migration is not under way`,
    );
  }
  return row;
}

/** Opens the target where the source's row says that it has moved; nothing happens where the target is past that. */
export async function rollForward(endpoints: Endpoints, db: Database.Database): Promise<void> {
  const row = readRow(db, 0);
  const client = await connectTarget(endpoints.targetUrl, OPENING);
  try {
    const target = await readTargetControl(client);
    if (target !== null && target.epoch >= row.epoch) return;
  } finally {
    await client.end();
  }
  await openTarget(endpoints, row.epoch, row.open_token ?? '');
}

/** Step 6, repeated until it is known to have happened: nobody else can be primary any more. */
async function openTarget(endpoints: Endpoints, epoch: number, token: string): Promise<void> {
  const client = await connectTarget(endpoints.targetUrl, OPENING);
  try {
    const { rows } = await client.query<{ open: boolean }>('SELECT crossfade.open_target($1, $2) AS open', [
      epoch,
      token,
    ]);
    if (rows[0]?.open === true) return;
    throw new CrossfadeError(
      'OutcomeUnknown',
      `target: does not open with epoch ${epoch}; its control row was changed`,
    );
  } finally {
    await client.end();
  }
}
