/**
 * Replay: applies the current state of every changed key to the target, again and again, until it is told to stop or
 * another owner takes its lease. Idempotent, so it may go on from any checkpoint.
 */
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { Plan, TablePlan } from '../contract.ts';
import { CrossfadeError, driverCode } from '../errors.ts';
import { SQLSTATE_WHOLE_BATCHES } from '../protocol.ts';
import { applyBatch, mayActAsReplica, type Applier, type Quarantined } from '../databases/postgres/apply.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import {
  applicationName,
  holdLeaseSql,
  leaseError,
  takeLease,
  type TargetLease,
} from '../databases/postgres/lease.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { proveEncoder } from '../databases/sqlite/encode.ts';
import {
  batchEnd,
  ChangedKeys,
  logHead,
  proveAnchor,
  proveReach,
  type LogHead,
} from '../databases/sqlite/log.ts';
import { readTransaction } from '../databases/sqlite/transaction.ts';
import { numberingOf } from '../databases/sqlite/numbering.ts';
import { openSnapshot, readSlice } from './batch.ts';
import type { Endpoints } from './endpoints.ts';
import { namedNumbering, replaceRows } from './renumbered.ts';
import { readCheckpoint, readCopied, readPlan, tablesById, type Copied } from './store.ts';

/** Log rows of a batch while no unique index on the target asks for more. */
const BATCH_CHANGES = 5_000;
/** Keys that are read from the source in one synchronous call. */
const SLICE_KEYS = 2_500;

/** A batch that may end in the middle of the log is refused once the target has, or is about to have, unique indexes. */
const PARTIAL_BATCH = { guardSql: 'SELECT crossfade.partial_batch()' };

/** Two connections and a lease: everything that applies changes to the target. */
export class Replayer {
  readonly db: Database.Database;
  readonly applier: Applier;
  readonly plan: Plan;
  /** Everything up to here is applied, for live tables. */
  checkpoint: LogHead;
  /** Changes applied since this replayer began. */
  applied = 0;

  private readonly tables: Map<number, TablePlan>;
  private readonly staged: ChangedKeys;
  /** Is there a table without a key? */
  private readonly hasNumbered: boolean;
  private copied: Map<number, Copied>;
  private wholeBatches: boolean;
  private quarantineMayHave: boolean;
  /** When the head that is now applied was read, by performance.now(). */
  private caughtUpAt: number | null = null;

  private constructor(
    db: Database.Database,
    applier: Applier,
    state: {
      plan: Plan;
      checkpoint: LogHead;
      wholeBatches: boolean;
      copied: Map<number, Copied>;
      quarantined: boolean;
    },
  ) {
    this.db = db;
    this.applier = applier;
    this.plan = state.plan;
    this.checkpoint = state.checkpoint;
    this.wholeBatches = state.wholeBatches;
    this.copied = state.copied;
    this.quarantineMayHave = state.quarantined;
    this.tables = tablesById(state.plan);
    this.hasNumbered = state.plan.tables.some((table) => table.rowNumbered);
    this.staged = new ChangedKeys(db, Math.max(1, ...state.plan.tables.map((table) => table.key.length)));
  }

  /** Opens both databases and takes the lease. The caller closes it. @throws CrossfadeError LeaseLost, … */
  static async open(endpoints: Endpoints, lease: TargetLease): Promise<Replayer> {
    const db = openSource(endpoints.sourcePath, 'read');
    try {
      proveEncoder(db);
      const client = await connectTarget(endpoints.targetUrl, { applicationName: applicationName(lease) });
      try {
        await takeLease(client, lease);
        const { position, token, wholeBatches } = await readCheckpoint(client);
        const quarantined = await hasQuarantine(client);
        return new Replayer(
          db,
          { client, lease, replica: await mayActAsReplica(client) },
          {
            plan: await readPlan(client),
            checkpoint: { position, token },
            wholeBatches,
            copied: await readCopied(client),
            quarantined,
          },
        );
      } catch (error) {
        await client.end().catch(() => undefined);
        throw error;
      }
    } catch (error) {
      db.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.db.close();
    await this.applier.client.end().catch(() => undefined);
  }

  /** Milliseconds for which the target has been behind; null before it first caught up. */
  lagMs(): number | null {
    return this.caughtUpAt === null ? null : performance.now() - this.caughtUpAt;
  }

  /** Told that nobody has committed since `step` found nothing to apply. */
  stillCaughtUp(): void {
    if (this.caughtUpAt !== null) this.caughtUpAt = performance.now();
  }

  head(): LogHead {
    return logHead(this.db);
  }

  /**
   * Applies the next batch, if there is any, after bringing tables whose copy has ended up to the checkpoint.
   * @returns log rows passed; 0 where the target has everything that was committed when it looked
   */
  async step(): Promise<number> {
    await this.adoptCopiedTables();
    const from = this.checkpoint;
    const readAt = performance.now();
    const live = [...this.copied.values()]
      .filter((table) => table.state === 'live')
      .map((table) => table.tableId);
    const head = readTransaction(this.db, () => {
      proveAnchor(this.db, from);
      return logHead(this.db);
    });
    const renumbered = this.renumbered(live).length > 0;
    if (head.position === from.position && !renumbered) {
      this.caughtUpAt = readAt;
      return 0;
    }
    const whole = this.wholeBatches;
    let end: LogHead;
    try {
      end = await this.applyRange(from.position, live, whole ? null : BATCH_CHANGES, (to) =>
        this.checkpointSql(to, head.position, readAt),
      );
    } catch (error) {
      if (driverCode(error) !== SQLSTATE_WHOLE_BATCHES) throw error;
      this.wholeBatches = true;
      return this.step();
    }
    this.checkpoint = end;
    if (end.position >= head.position) this.caughtUpAt = readAt;
    return Number(end.position - from.position) + Number(renumbered);
  }

  /** Applies until the target has everything up to `position`. @throws CrossfadeError OutcomeUnknown past the deadline */
  async drainTo(position: bigint, giveUpAt: number): Promise<void> {
    while (this.checkpoint.position < position) {
      if (performance.now() > giveUpAt) {
        throw new CrossfadeError('CutoverReturned', `replay did not reach log position ${position} in time`);
      }
      await this.step();
    }
  }

  /** Tells observers, about once a second, that nothing is left to apply. */
  async reportCaughtUp(): Promise<void> {
    if (this.caughtUpAt === null) return;
    const age = (performance.now() - this.caughtUpAt) / 1_000;
    await this.run(
      `UPDATE crossfade.checkpoint SET caught_up_at = clock_timestamp() - make_interval(secs => ${age.toFixed(6)}),
              head = ${this.checkpoint.position} WHERE id = 1`,
    );
  }

  /** From now on every batch reaches its snapshot's end; needed as soon as the target has unique indexes. */
  async requireWholeBatches(): Promise<void> {
    await this.run('UPDATE crossfade.checkpoint SET whole_batches = true WHERE id = 1');
    this.wholeBatches = true;
  }

  /** Reads whether another step has asked for whole batches meanwhile. */
  async refresh(): Promise<void> {
    this.wholeBatches = (await readCheckpoint(this.applier.client)).wholeBatches;
  }

  private async run(sql: string): Promise<void> {
    try {
      await this.applier.client.query(`${sql}; ${holdLeaseSql(this.applier.lease)}`);
    } catch (error) {
      throw leaseError(error);
    }
  }

  private checkpointSql(to: LogHead, head: bigint, readAt: number): string {
    const changes = to.position - this.checkpoint.position;
    const age = (performance.now() - readAt) / 1_000;
    const caughtUp =
      to.position >= head
        ? `, caught_up_at = clock_timestamp() - make_interval(secs => ${age.toFixed(6)})`
        : '';
    return (
      `UPDATE crossfade.checkpoint SET position = ${to.position}, token = ${to.token}, head = ${head}, ` +
      `changes = changes + ${changes}${caughtUp} WHERE id = 1`
    );
  }

  /**
   * A table whose copy has ended is behind the checkpoint by what changed since its first chunk: that range is applied
   * for this table alone, then it is live and takes part in every batch.
   */
  private async adoptCopiedTables(): Promise<void> {
    if ([...this.copied.values()].every((table) => table.state === 'live')) return;
    this.copied = await readCopied(this.applier.client);
    for (const table of this.copied.values()) {
      if (table.state !== 'copied') continue;
      // The copy may have set rows aside that are mended by now.
      this.quarantineMayHave ||= await hasQuarantine(this.applier.client);
      let from = table.replayedTo!;
      // The table's copy may have begun after the checkpoint: then it is ahead, and live from there on.
      const goal = this.checkpoint.position;
      while (from < goal) {
        const end = await this.applyRange(
          from,
          [table.tableId],
          BATCH_CHANGES,
          (to) =>
            `UPDATE crossfade.copied SET replayed_to = ${to.position} WHERE table_id = ${table.tableId}`,
          goal,
        );
        from = end.position;
      }
      await this.run(`UPDATE crossfade.copied SET state = 'live' WHERE table_id = ${table.tableId}`);
      table.state = 'live';
    }
  }

  /** Applies the changes of `tables` after `from`, to `limit` log rows on (null: to the head) or `ceiling`. */
  private async applyRange(
    from: bigint,
    tables: number[],
    limit: number | null,
    checkpointSql: (to: LogHead) => string,
    ceiling?: bigint,
  ): Promise<LogHead> {
    // A table is taken up before there are any unique indexes but its key.
    const guard = limit === null || ceiling !== undefined ? {} : PARTIAL_BATCH;
    if (this.hasNumbered) await namedNumbering(this.db, this.db.name);
    const close = openSnapshot(this.db);
    try {
      // A table that is taken up begins before the checkpoint, where the log may have been cut by its cap.
      proveReach(this.db, from);
      const renumbered = this.renumbered(tables);
      const replaced = new Set(renumbered.map((table) => table.id));
      let end = batchEnd(this.db, from, limit);
      if (ceiling !== undefined && end.position > ceiling) end = { ...end, position: ceiling };
      const others = tables.filter((id) => !replaced.has(id));
      const keys = this.staged.stage(from, end.position, others);
      if (keys <= SLICE_KEYS && renumbered.length === 0) {
        const slice = readSlice(this.staged, this.tables, this.all(), { deletions: true, rows: true });
        // The snapshot ends before the network is waited for.
        close();
        this.noteQuarantine(
          await applyBatch(this.applier, {
            ...slice,
            ...guard,
            healed: this.quarantineMayHave ? slice.keys : [],
            checkpointSql: checkpointSql(end),
          }),
        );
      } else {
        await this.applySlices(checkpointSql(end), guard, renumbered);
      }
      this.applied += keys;
      return end;
    } finally {
      close();
    }
  }

  private all(): { from: number; to: number } {
    return { from: 0, to: this.staged.highest() };
  }

  /**
   * A batch larger than one call: all deletions, then all rows, so that unique values that moved between rows never
   * meet; slice by slice in bounded memory, in one target transaction, on one source snapshot that stays open.
   */
  private async applySlices(
    checkpointSql: string,
    guard: { guardSql?: string },
    renumbered: TablePlan[],
  ): Promise<void> {
    const { client } = this.applier;
    const highest = this.staged.highest();
    await client.query('BEGIN');
    try {
      for (const table of renumbered) {
        this.quarantineMayHave = (await replaceRows(this.applier, this.db, table)) || this.quarantineMayHave;
      }
      for (const parts of [
        { deletions: true, rows: false },
        { deletions: false, rows: true },
      ]) {
        for (let from = 0; from < highest; from += SLICE_KEYS) {
          const slice = readSlice(this.staged, this.tables, { from, to: from + SLICE_KEYS }, parts);
          const quarantined = await applyBatch(
            this.applier,
            {
              ...slice,
              ...guard,
              healed: parts.rows && this.quarantineMayHave ? slice.keys : [],
              checkpointSql: 'SELECT 1',
            },
            'inside',
          );
          this.noteQuarantine(quarantined);
          await yieldToLoop();
        }
      }
      await client.query(`${checkpointSql}; ${holdLeaseSql(this.applier.lease)}`);
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw leaseError(error);
    }
    const numbering = numberingOf(this.db);
    for (const { id } of renumbered) this.copied.get(id)!.numbering = numbering;
  }

  /** Of these tables, those without a key whose rows a VACUUM has numbered anew. */
  private renumbered(tables: number[]): TablePlan[] {
    if (!this.hasNumbered) return [];
    const numbering = numberingOf(this.db);
    return tables
      .map((id) => this.tables.get(id)!)
      .filter((table) => table.rowNumbered && this.copied.get(table.id)?.numbering !== numbering);
  }

  private noteQuarantine(quarantined: Quarantined[]): void {
    if (quarantined.length > 0) this.quarantineMayHave = true;
  }
}

async function hasQuarantine(client: pg.Client): Promise<boolean> {
  return (await client.query('SELECT 1 FROM crossfade.quarantine LIMIT 1')).rowCount === 1;
}
