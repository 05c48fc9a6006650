/**
 * Verification: reads both databases in key order, chunk by chunk, compares bytes, and decides each difference against
 * one checkpoint (see paired-read). Never loads a table, changes nothing.
 */
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { Mismatch, Plan, Progress, TablePlan, Verdict } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import { GrowingBuffer } from '../databases/growing-buffer.ts';
import { keyInput, keyKinds, keyLiterals, keyText, parseKeyText, type KeyValue } from '../databases/key.ts';
import { readQuarantine } from '../databases/postgres/apply.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import {
  hasControl as targetHasControl,
  readControl as readTargetControl,
} from '../databases/postgres/control.ts';
import { copyOut } from '../databases/postgres/copy-stream.ts';
import { targetColumns, targetKey, targetTable } from '../databases/postgres/names.ts';
import { ChunkReader } from '../databases/sqlite/chunk.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { CopyBuffer } from '../databases/sqlite/copy-buffer.ts';
import { isUnnamed, numberingOf, Renumbered } from '../databases/sqlite/numbering.ts';
import { ChangedKeys, proveReach } from '../databases/sqlite/log.ts';
import { readTransaction } from '../databases/sqlite/transaction.ts';
import { describe, differences, readableKey, shortened } from './compare.ts';
import { pause, type Endpoints } from './endpoints.ts';
import { Found, type FoundDifference } from './found.ts';
import { asRead } from './generated.ts';
import { compareKeys, keysOf, onTargetSnapshot, type Pair } from './paired-read.ts';
import { compareForms, sampleKeys } from './sample.ts';
import { readBuilt, readCopied, readPlan } from './store.ts';
import { compareByKey, keyOnly } from './verify-by-key.ts';
import { verifySchema, type SchemaVerdict } from './verify-schema.ts';

export interface VerifyOptions extends Endpoints {
  mode: 'full' | 'sample';
  /** Random rows per table that an independent path compares; in sample mode the only rows. */
  sampleRows: number;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

const CHUNK_ROWS = 5_000;
const CHUNK_BYTES = 1024 * 1024;
const MISMATCHES_SHOWN = 20;
const FINDINGS_SHOWN = 20;
/** Keys of the change log compared at one go. */
const CHANGES_PER_STEP = 2_000;
/** Times that a suspicion is looked at again, where the target is primary and no checkpoint can decide it. */
const RECHECKS = 30;
const RECHECK_PAUSE_MS = 100;

/**
 * Compares the two databases of a migration, before, during and after it.
 * @throws CrossfadeError NoMigration where the target holds no migration, connection errors
 */
export async function verifyDatabases(options: VerifyOptions): Promise<Verdict> {
  const verifier = await Verifier.open(options, 'crossfade verify');
  try {
    return await verifier.verify(options);
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
  private readonly staged: ChangedKeys;
  private readonly found = new Found();

  private constructor(db: Database.Database, client: pg.Client, plan: Plan, sourceIsPrimary: boolean) {
    this.pair = { db, client, sourceIsPrimary };
    this.planned = plan;
    this.plan = { ...plan, tables: plan.tables.map(asRead) };
    this.staged = new ChangedKeys(db, Math.max(1, ...plan.tables.map((table) => table.key.length)));
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
        const control = await readTargetControl(client);
        // A fence on the target is that of a rollback, before its commit point.
        const sourceIsPrimary = control?.state !== 'open' && control?.state !== 'fencing';
        return new Verifier(db, client, await readPlan(client), sourceIsPrimary);
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
    this.pair.db.close();
    await this.pair.client.end().catch(() => undefined);
  }

  async verify(
    options: Pick<VerifyOptions, 'mode' | 'sampleRows' | 'signal' | 'onProgress'>,
  ): Promise<Verdict> {
    const started = performance.now();
    await this.proveCopied();
    const { findings, unreadable } = await this.schema();
    const rowsTotal = this.plan.tables.reduce((sum, table) => sum + table.rows, 0);
    const tables: Verdict['tables'] = [];
    let rows = 0;
    for (const table of this.plan.tables) {
      const before = this.found.size;
      const asPlanned = !findings.some((finding) => finding.table === table.name);
      if (unreadable.has(table.id)) {
        tables.push({ table: table.name, rows: 0, equal: false });
        continue;
      }
      const tableRows = await this.verifyTable(table, options, (done) => {
        options.onProgress?.({
          kind: 'verify',
          table: table.name,
          rows: rows + done,
          rowsTotal: Math.max(rowsTotal, rows + done),
        });
      });
      rows += tableRows;
      tables.push({ table: table.name, rows: tableRows, equal: asPlanned && this.found.size === before });
    }
    const quarantined = await this.quarantined();
    const reported = this.found.outside(quarantined);
    return {
      equal: reported.length === 0 && findings.length === 0 && quarantined.size === 0,
      mode: options.mode,
      at: new Date().toISOString(),
      ms: Math.round(performance.now() - started),
      rows,
      tables,
      mismatches: reported.slice(0, MISMATCHES_SHOWN),
      mismatchCount: reported.length,
      schema: findings.slice(0, FINDINGS_SHOWN),
      schemaCount: findings.length,
      quarantined: quarantined.size,
    };
  }

  /** What of the plan's objects is missing or another on the target, as far as the migration has come. */
  async schema(): Promise<SchemaVerdict> {
    const { client, db, sourceIsPrimary } = this.pair;
    const control = await readTargetControl(client);
    return verifySchema(client, db, this.planned, {
      built: await readBuilt(client),
      targetIsPrimary: !sourceIsPrimary,
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
   * tables could not decide. @returns the checkpoint that is verified now, and the differences
   */
  async verifyChanges(
    from: bigint,
    signal?: AbortSignal,
  ): Promise<{ position: bigint; mismatches: Mismatch[] }> {
    const tables = this.plan.tables.map((table) => table.id);
    const found = new Found();
    const goal = await onTargetSnapshot(this.pair.client, (position) => Promise.resolve(position));
    let at = from;
    while (at < goal && signal?.aborted !== true) {
      const end = at + BigInt(CHANGES_PER_STEP) < goal ? at + BigInt(CHANGES_PER_STEP) : goal;
      const keys = readTransaction(this.pair.db, () => {
        proveReach(this.pair.db, at);
        this.staged.stage(at, end, tables);
        const highest = this.staged.highest();
        return this.plan.tables.map((table) => ({ table, keys: this.staged.keys(table, 0, highest) }));
      });
      for (const { table, keys: changed } of keys) {
        if (changed.length === 0) continue;
        for (const difference of await this.compare(table, changed)) found.add(table, difference);
      }
      at = end;
    }
    return { position: at, mismatches: found.size === 0 ? [] : found.outside(await this.quarantined()) };
  }

  private async quarantined(): Promise<Set<string>> {
    const rows = await readQuarantine(this.pair.client, 1_000_000);
    return new Set(rows.map(({ tableId, key }) => `${tableId} ${key}`));
  }

  private async verifyTable(
    table: TablePlan,
    options: Pick<VerifyOptions, 'mode' | 'sampleRows' | 'signal'>,
    onRows: (rows: number) => void,
  ): Promise<number> {
    const rows =
      table.ordered === false
        ? await compareByKey(
            this.pair,
            table,
            (keys) => this.decide(table, keys, (suspects) => this.compare(table, suspects)),
            onRows,
            options.signal,
          )
        : await this.readUnrenumbered(table, options.mode === 'full', onRows, options.signal);
    const keys = sampleKeys(this.pair.db, table, options.sampleRows);
    await this.decide(table, keys, async (suspects) =>
      (await compareForms(this.pair, table, suspects)).map(
        ({ key, column, source, target }): FoundDifference => ({
          key: keyText(key),
          mismatch: this.mismatchOf(table, keyText(key), column, source, target),
        }),
      ),
    );
    return rows;
  }

  /** As `readThrough`, from the beginning again after a VACUUM, which may have moved rows to where it has passed. */
  private async readUnrenumbered(
    table: TablePlan,
    whole: boolean,
    onRows: (rows: number) => void,
    signal?: AbortSignal,
  ): Promise<number> {
    for (;;) {
      const numbering = table.rowNumbered ? numberingOf(this.pair.db) : null;
      try {
        // Until replay has named it, another VACUUM would not be noticed.
        if (isUnnamed(numbering)) throw new Renumbered(this.pair.db.name);
        const reader = new ChunkReader(this.pair.db, whole ? table : keyOnly(table), numbering);
        return await this.readThrough(reader, table, whole, onRows, signal);
      } catch (error) {
        if (!(error instanceof Renumbered) || signal?.aborted === true) throw error;
        await pause(RECHECK_PAUSE_MS, new AbortController().signal);
      }
    }
  }

  /** Passes over the table in key order; compares rows, or in sample mode only keys and thereby the count. */
  private async readThrough(
    reader: ChunkReader,
    table: TablePlan,
    whole: boolean,
    onRows: (rows: number) => void,
    signal?: AbortSignal,
  ): Promise<number> {
    const shown = whole ? table : keyOnly(table);
    let after: KeyValue[] | null = null;
    /** Where the range that is read now begins. */
    let from: KeyValue[] | null = null;
    /** The range that is read now, and the one before it, which is compared meanwhile. */
    let [reading, comparing] = [new Range(), new Range()];
    let rows = 0;
    let wanted = CHUNK_ROWS;
    try {
      do {
        if (signal?.aborted === true) break;
        const before = reading.source.length;
        const chunk = reader.read(after, reader.rowLimit(wanted), reading.source);
        const bytes = reading.source.length - before;
        if (chunk.rows > 0)
          wanted = Math.max(1, Math.min(CHUNK_ROWS, Math.floor((CHUNK_BYTES * chunk.rows) / (bytes + 1))));
        rows += chunk.rows;
        after = chunk.last;
        // A range can only end at a key that the target knows how to compare.
        if (after === null || isHeld(shown, after)) {
          await comparing.target;
          reading.readTarget(this.pair.client, rangeSql(shown, from, after));
          await this.compareRange(table, shown, comparing);
          [reading, comparing] = [comparing, reading];
          from = after;
        }
        onRows(rows);
        await yieldToLoop();
      } while (after !== null);
    } finally {
      // A read that is under way has the connection.
      await Promise.allSettled([reading.target, comparing.target]);
    }
    await this.compareRange(table, shown, comparing);
    return rows;
  }

  /** @param shown the columns that the range holds */
  private async compareRange(table: TablePlan, shown: TablePlan, range: Range): Promise<void> {
    const suspects = differences(shown, range.source.contents, await range.target);
    range.clear();
    if (suspects.length > 0) await this.decide(table, keysOf(suspects), (keys) => this.compare(table, keys));
  }

  private async compare(table: TablePlan, keys: KeyValue[][]): Promise<FoundDifference[]> {
    return (await compareKeys(this.pair, this.staged, table, keys)).map((difference) => ({
      key: difference.key,
      mismatch: describe(table, difference, this.pair.sourceIsPrimary),
    }));
  }

  private mismatchOf(
    table: TablePlan,
    key: string,
    column: string,
    source: string,
    target: string,
  ): Mismatch {
    const { sourceIsPrimary } = this.pair;
    const [primary, secondary] = sourceIsPrimary ? [source, target] : [target, source];
    return {
      table: table.name,
      key: readableKey(key),
      kind: 'different',
      column,
      primary: shortened(primary),
      secondary: shortened(secondary),
    };
  }

  /** Looks at suspicious keys, on paired snapshots, and keeps what is really different. */
  private async decide(
    table: TablePlan,
    keys: KeyValue[][],
    compare: (keys: KeyValue[][]) => Promise<FoundDifference[]>,
  ): Promise<void> {
    const step = 500;
    for (let i = 0; i < keys.length; i += step) {
      let suspects = keys.slice(i, i + step);
      let found: FoundDifference[] = [];
      // With the source as primary the checkpoint decides at once; otherwise a difference has to persist.
      for (let attempt = 0; attempt < (this.pair.sourceIsPrimary ? 1 : RECHECKS); attempt++) {
        if (attempt > 0) await pause(RECHECK_PAUSE_MS, new AbortController().signal);
        found = await compare(suspects);
        suspects = found.map(({ key }) => parseKeyText(key));
        if (suspects.length === 0) break;
      }
      for (const difference of found) this.found.add(table, difference);
    }
  }
}

/** Rows of one key range, as COPY text of both sides; memory is used again for the next range. */
class Range {
  readonly source = new CopyBuffer();
  target: Promise<Buffer> = Promise.resolve(Buffer.alloc(0));
  private readonly received = new GrowingBuffer();

  readTarget(client: pg.Client, sql: string): void {
    this.target = copyOut(client, sql, this.received);
    // Awaited by whoever compares; this only keeps a failure during the next read from being called unhandled.
    this.target.catch(() => undefined);
  }

  clear(): void {
    this.source.clear();
    this.target = Promise.resolve(Buffer.alloc(0));
  }
}

/** Can the target's type hold the key? */
function isHeld(table: TablePlan, key: KeyValue[]): boolean {
  const kinds = keyKinds(table);
  return key.every((value, i) => keyInput(value, kinds[i]!) !== null);
}

/** All rows after the key `after` up to `last`; to the end where `last` is null. COPY takes no parameters, so they are literals. */
function rangeSql(table: TablePlan, after: KeyValue[] | null, last: KeyValue[] | null): string {
  const keys = targetKey(table).join(', ');
  const conditions: string[] = [];
  if (after !== null) conditions.push(`(${keys}) > (${keyLiterals(table, after)})`);
  if (last !== null) conditions.push(`(${keys}) <= (${keyLiterals(table, last)})`);
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  return `COPY (SELECT ${targetColumns(table).join(', ')} FROM ${targetTable(table)} ${where} ORDER BY ${keys}) TO STDOUT`;
}
