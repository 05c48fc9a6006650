/**
 * Verification: the schema from the catalogs, and every row of both databases, bytes against bytes; what differs at
 * first sight is decided on paired snapshots (see paired-read). Never loads a table. Writes nothing, but for a repair,
 * which logs keys.
 */
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { Mismatch, Plan, Progress, TablePlan, Verdict } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import type { KeyValue } from '../databases/key.ts';
import { countQuarantine } from '../databases/postgres/apply.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import {
  hasControl as targetHasControl,
  readControl as readTargetControl,
} from '../databases/postgres/control.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { ChangedKeys, proveReach } from '../databases/sqlite/log.ts';
import { isUnnamed, numberingOf, Renumbered } from '../databases/sqlite/numbering.ts';
import { originOf } from '../databases/sqlite/origin.ts';
import { ReadingThread } from '../databases/sqlite/reading-thread.ts';
import { readTransaction } from '../databases/sqlite/transaction.ts';
import { describe, readableKey, valuesOf } from './compare.ts';
import { Decider, isReplaying } from './decide.ts';
import { pause, type Endpoints } from './endpoints.ts';
import { Found, MISMATCHES_SHOWN, type FoundDifference } from './found.ts';
import { asRead } from './generated.ts';
import { compareKeys, onTargetSnapshot, type Pair, type PairedRead } from './paired-read.ts';
import { Repairer } from './repair.ts';
import { compareForms, sampleKeys } from './sample.ts';
import { readBuilt, readCopied, readPlan } from './store.ts';
import { compareByKey, keyOnly } from './verify-by-key.ts';
import { compareInOrder } from './verify-in-order.ts';
import { verifySchema, type SchemaVerdict } from './verify-schema.ts';

export interface VerifyOptions extends Endpoints {
  mode: 'full' | 'sample';
  /** Random rows per table that an independent path compares; in sample mode the only rows. */
  sampleRows: number;
  /** Has the primary's rows written again where the secondary's differ. */
  repair?: boolean;
  /** For so long replay may be gone, as while another worker takes it over; 20 seconds by default. */
  graceMs?: number;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

type PassOptions = Pick<VerifyOptions, 'mode' | 'sampleRows' | 'graceMs' | 'signal' | 'onProgress'>;

const FINDINGS_SHOWN = 20;
/** Keys of the change log compared at one go. */
const CHANGES_PER_STEP = 2_000;
const RETRY_PAUSE_MS = 100;
/** A worker that takes replay over from a dead one needs up to 15 seconds. */
const GRACE_MS = 20_000;

/**
 * Compares the two databases of a migration at any time after the copy, and repairs the secondary where asked.
 * @throws CrossfadeError NoMigration where the target holds no migration, or nothing replays that could repair;
 *   NotCopied; connection errors
 */
export async function verifyDatabases(options: VerifyOptions): Promise<Verdict> {
  const verifier = await Verifier.open(options, 'crossfade verify');
  try {
    if (options.repair !== true) return await verifier.verify(options);
    const repairer = await verifier.repairer(options);
    try {
      return await verifier.verify(options, repairer);
    } finally {
      repairer.close();
    }
  } finally {
    await verifier.close();
  }
}

export class Verifier {
  /** As the tables were made. */
  private readonly planned: Plan;
  /** As their rows are read, generated columns included. */
  private readonly plan: Plan;
  private readonly pair: Pair;
  private thread: ReadingThread | undefined;

  private constructor(db: Database.Database, client: pg.Client, plan: Plan, targetIsPrimary: boolean) {
    this.planned = plan;
    this.plan = { ...plan, tables: plan.tables.map(asRead) };
    const staged = new ChangedKeys(db, Math.max(1, ...plan.tables.map((table) => table.key.length)));
    this.pair = { db, client, staged, targetIsPrimary };
  }

  static async open(endpoints: Endpoints, applicationName: string): Promise<Verifier> {
    const db = openSource(endpoints.sourcePath, 'read');
    try {
      const client = await connectTarget(endpoints.targetUrl, { applicationName });
      try {
        if (!(await targetHasControl(client))) {
          throw new CrossfadeError(
            'NoMigration',
            'the target has no schema "crossfade": nothing was migrated into this database, so there is nothing to compare',
          );
        }
        // The index gives a range in the order of its key; the planner prefers a bitmap, which then has to be sorted.
        await client.query('SET enable_bitmapscan = off');
        const plan = await readPlan(client);
        const targetIsPrimary = await onTargetSnapshot(client, (view) =>
          Promise.resolve(view.targetIsPrimary),
        );
        return new Verifier(db, client, plan, targetIsPrimary);
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
    await this.thread?.close();
    this.pair.db.close();
    await this.pair.client.end().catch(() => undefined);
  }

  /** The caller closes it. @throws CrossfadeError NoMigration where nothing would write what it asks for */
  async repairer({ sourcePath, graceMs = GRACE_MS }: VerifyOptions): Promise<Repairer> {
    const { client } = this.pair;
    if ((await readTargetControl(client))?.finished === true) {
      throw new CrossfadeError(
        'NoMigration',
        'the migration is finished: the target alone takes writes and nothing goes back to the source, so there is ' +
          'nothing to repair; compare without a repair',
      );
    }
    const giveUpAt = performance.now() + graceMs;
    while (!(await isReplaying(client))) {
      if (performance.now() > giveUpAt) {
        throw new CrossfadeError(
          'NoMigration',
          'nothing replays between the databases, so nothing would write the repaired rows: start the worker of the ' +
            'migration again, or roll it back where its workflow is gone ("crossfade rollback")',
        );
      }
      await pause(RETRY_PAUSE_MS, new AbortController().signal);
    }
    return new Repairer(sourcePath, client);
  }

  /** Where the file is a mirror, the source itself is read again: what was compared is what is there. */
  private async audit(signal: AbortSignal | undefined): Promise<Mismatch[]> {
    const { db, targetIsPrimary } = this.pair;
    const names = this.plan.tables.map(({ name }) => name);
    const differences = (await originOf(db.name)?.audit(names, signal)) ?? [];
    const [sourceOnly, targetOnly]: Mismatch['kind'][] = targetIsPrimary
      ? ['missing-on-primary', 'missing-on-secondary']
      : ['missing-on-secondary', 'missing-on-primary'];
    return differences.map(({ table, key, kind }) => ({
      table,
      key,
      kind: kind === 'different' ? kind : kind === 'only at the origin' ? sourceOnly! : targetOnly!,
    }));
  }

  async verify(options: PassOptions, repairer?: Repairer): Promise<Verdict> {
    const started = performance.now();
    await this.proveCopied();
    const { findings, unreadable } = await this.schema();
    const decider = new Decider(
      this.pair,
      options.graceMs ?? GRACE_MS,
      repairer && ((table, keys) => repairer.heal(table, keys)),
    );
    const rowsTotal = this.plan.tables.reduce((sum, table) => sum + table.rows, 0);
    const tables: Verdict['tables'] = [];
    let rows = 0;
    for (const table of this.plan.tables) {
      if (unreadable.has(table.id)) {
        tables.push({ table: table.name, rows: 0, equal: false });
        continue;
      }
      const before = decider.found.count + decider.undecided.count;
      const tableRows = await this.verifyTable(table, decider, options, (done) => {
        options.onProgress?.({
          kind: 'verify',
          table: table.name,
          rows: rows + done,
          rowsTotal: Math.max(rowsTotal, rows + done),
        });
      });
      rows += tableRows;
      const asPlanned = !findings.some((finding) => finding.table === table.name);
      const equal = asPlanned && decider.found.count + decider.undecided.count === before;
      tables.push({ table: table.name, rows: tableRows, equal });
    }
    if (repairer !== undefined && decider.healed.count > 0)
      await this.healQuarantine(repairer, decider, options);
    const { found, healed } = decider;
    const undecided = decider.undecided.count;
    const audited = options.mode === 'full' ? await this.audit(options.signal) : [];
    const quarantined = await countQuarantine(this.pair.client);
    return {
      equal: found.count + audited.length + findings.length + quarantined + undecided === 0,
      mode: options.mode,
      at: new Date().toISOString(),
      ms: Math.round(performance.now() - started),
      rows,
      tables,
      mismatches: [...audited, ...found.mismatches].slice(0, MISMATCHES_SHOWN),
      mismatchCount: found.count + audited.length,
      schema: findings.slice(0, FINDINGS_SHOWN),
      schemaCount: findings.length,
      quarantined,
      undecided,
      ...(repairer === undefined ? {} : { healed: healed.mismatches, healedCount: healed.count }),
    };
  }

  /** What of the plan's objects is missing or another on the target, as far as the migration has come. */
  async schema(): Promise<SchemaVerdict> {
    const { client, db } = this.pair;
    const control = await readTargetControl(client);
    return verifySchema(client, db, this.planned, {
      built: await readBuilt(client),
      targetIsPrimary: control?.state === 'open' || control?.state === 'fencing',
      finished: control?.finished === true,
    });
  }

  /** @throws CrossfadeError NotCopied: what is not there yet is no difference */
  private async proveCopied(): Promise<void> {
    const copied = [...(await readCopied(this.pair.client)).values()];
    const pending = copied.filter(({ state }) => state !== 'live').length;
    if (pending === 0) return;
    throw new CrossfadeError(
      'NotCopied',
      `the copy has not ended: ${pending} of ${copied.length} tables are still to come; verify again after it`,
    );
  }

  /**
   * Compares what changed in (from, the target's checkpoint], as verification of everything that a pass over the
   * tables could not decide. @returns the checkpoint that is verified now, and the differences, the first of them
   */
  async verifyChanges(
    from: bigint,
    signal?: AbortSignal,
  ): Promise<{ position: bigint; mismatches: Mismatch[]; mismatchCount: number }> {
    const { db, client, staged } = this.pair;
    const tables = this.plan.tables.map((table) => table.id);
    const found = new Found();
    const goal = await onTargetSnapshot(client, ({ position }) => Promise.resolve(position));
    let at = from;
    while (at < goal && signal?.aborted !== true) {
      const end = at + BigInt(CHANGES_PER_STEP) < goal ? at + BigInt(CHANGES_PER_STEP) : goal;
      const keys = readTransaction(db, () => {
        proveReach(db, at);
        staged.stage(at, end, tables);
        const highest = staged.highest();
        return this.plan.tables.map((table) => ({ table, keys: staged.keys(table, 0, highest) }));
      });
      for (const { table, keys: changed } of keys) {
        if (changed.length === 0) continue;
        for (const one of (await this.look(table, changed)).different) found.add(table, one);
      }
      at = end;
    }
    return { position: at, mismatches: found.mismatches, mismatchCount: found.count };
  }

  private async verifyTable(
    table: TablePlan,
    decider: Decider,
    options: PassOptions,
    onRows: (rows: number) => void,
  ): Promise<number> {
    const { signal } = options;
    const decide = (keys: KeyValue[][]): Promise<void> =>
      decider.decide(table, keys, (suspects) => this.look(table, suspects), signal);
    const rows =
      table.ordered === false
        ? await this.readByKey(table, decider, decide, onRows, signal)
        : await this.readInOrder(options.mode === 'full' ? table : keyOnly(table), decide, onRows, signal);
    await decider.decide(
      table,
      sampleKeys(this.pair.db, table, options.sampleRows),
      (suspects) => this.lookAtForms(table, suspects),
      signal,
    );
    return rows;
  }

  private readByKey(
    table: TablePlan,
    decider: Decider,
    decide: (keys: KeyValue[][]) => Promise<void>,
    onRows: (rows: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const keys = keyOnly(table);
    // A row of the target whose key the source has was compared from there.
    const compareExtra = (extra: KeyValue[][]): Promise<void> =>
      decider.decide(table, extra, (suspects) => this.look(table, suspects, keys), signal);
    return compareByKey(this.pair, keys, decide, compareExtra, onRows, signal);
  }

  private readingThread(): ReadingThread {
    this.thread ??= new ReadingThread(this.pair.db.name);
    return this.thread;
  }

  /** From the beginning again after a VACUUM, which may have moved rows to where it has passed. */
  private async readInOrder(
    table: TablePlan,
    decide: (keys: KeyValue[][]) => Promise<void>,
    onRows: (rows: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { db } = this.pair;
    for (;;) {
      const numbering = table.rowNumbered ? numberingOf(db) : null;
      try {
        // Until replay has named it, another VACUUM would not be noticed.
        if (isUnnamed(numbering)) throw new Renumbered(db.name);
        return await compareInOrder(
          this.pair,
          () => this.readingThread(),
          table,
          numbering,
          decide,
          onRows,
          signal,
        );
      } catch (error) {
        if (!(error instanceof Renumbered) || signal?.aborted === true) throw error;
        await pause(RETRY_PAUSE_MS, new AbortController().signal);
      }
    }
  }

  /** Compares whole rows, by their COPY text. @param columns the table with those columns that are compared */
  private async look(
    table: TablePlan,
    keys: KeyValue[][],
    columns: TablePlan = table,
  ): Promise<PairedRead<FoundDifference>> {
    const read = await compareKeys(this.pair, columns, keys);
    return mapped(read, (one) => ({ key: one.key, mismatch: describe(columns, one, read.targetIsPrimary) }));
  }

  private async lookAtForms(table: TablePlan, keys: KeyValue[][]): Promise<PairedRead<FoundDifference>> {
    const read = await compareForms(this.pair, table, keys);
    return mapped(read, ({ key, column, source, target }) => ({
      key,
      mismatch: {
        table: table.name,
        key: readableKey(key, table),
        ...valuesOf(column, source, target, read.targetIsPrimary),
      },
    }));
  }

  /** Rows that replay could not write before others were healed: it tries them again. */
  private async healQuarantine(repairer: Repairer, decider: Decider, { signal }: PassOptions): Promise<void> {
    await repairer.healQuarantine(this.plan.tables, (table, keys) =>
      decider.retry(table, keys, (suspects) => this.look(table, suspects), signal),
    );
  }
}

function mapped<D>(read: PairedRead<D>, tell: (one: D) => FoundDifference): PairedRead<FoundDifference> {
  return { ...read, different: read.different.map(tell), undecided: read.undecided.map(tell) };
}
