/**
 * Copy: existing rows go to the target in key order, batch by batch; rows and checkpoint commit together, so that any
 * worker can go on from the last batch.
 */
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import type { CopyReport, MigrationInput, Progress, TablePlan } from '../contract.ts';
import { literal } from '../databases/identifiers.ts';
import { keyText, type KeyValue } from '../databases/key.ts';
import { applyBatch, mayActAsReplica, type Applier, type Quarantined } from '../databases/postgres/apply.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import {
  applicationName,
  holdLeaseSql,
  leaseError,
  takeLease,
  type TargetLease,
} from '../databases/postgres/lease.ts';
import { ChunkReader } from '../databases/sqlite/chunk.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { CopyBuffer } from '../databases/sqlite/copy-buffer.ts';
import { proveEncoder } from '../databases/sqlite/encode.ts';
import { logHead } from '../databases/sqlite/log.ts';
import { Renumbered } from '../databases/sqlite/numbering.ts';
import { pause, type Endpoints } from './endpoints.ts';
import { emptyTableSql, namedNumbering } from './renumbered.ts';
import { RateMeter } from './rate.ts';
import { readCopied, type Copied } from './store.ts';

export interface CopyOptions {
  endpoints: Endpoints;
  lease: TargetLease;
  tables: TablePlan[];
  settings: MigrationInput['copy'];
  signal: AbortSignal;
  onProgress(progress: Progress): void;
}

/** Rows and bytes so far, shared by the streams. */
interface Tally {
  rows: number;
  bytes: number;
  rowsTotal: number;
  rate: RateMeter;
}

/**
 * Copies every table that is not copied yet. Resumes from the checkpoints in the target.
 * @throws CrossfadeError LeaseLost, TargetUnreachable, SourceMissing …; returns early, incomplete, where the signal aborts
 */
export async function copyTables(options: CopyOptions): Promise<CopyReport> {
  const { endpoints, lease, tables } = options;
  const started = performance.now();
  const owner = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade copy' });
  let copied: Map<number, Copied>;
  try {
    await takeLease(owner, lease);
    copied = await readCopied(owner);
  } finally {
    await owner.end();
  }

  const tally: Tally = { rows: 0, bytes: 0, rowsTotal: 0, rate: new RateMeter() };
  for (const table of tables) {
    tally.rowsTotal += table.rows;
    tally.rows += copied.get(table.id)?.rows ?? 0;
    tally.bytes += copied.get(table.id)?.bytes ?? 0;
  }
  // Largest first, so that the streams end together.
  const queue = tables
    .filter((table) => !['copied', 'live'].includes(copied.get(table.id)?.state ?? 'pending'))
    .sort((a, b) => b.rows - a.rows);

  // A stream that fails stops the others at their next batch.
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  const streams = Array.from({ length: Math.min(options.settings.parallel, queue.length) }, () =>
    copyStream({ ...options, signal }, queue, copied, tally).catch((error: unknown) => {
      failure.abort();
      throw error;
    }),
  );
  const results = await Promise.allSettled(streams);
  for (const result of results) if (result.status === 'rejected') throw result.reason;

  return {
    rows: tally.rows,
    bytes: tally.bytes,
    ms: Math.round(performance.now() - started),
    tables: tables.map((table) => {
      const state = copied.get(table.id);
      return { table: table.name, rows: state?.rows ?? 0, bytes: state?.bytes ?? 0 };
    }),
  };
}

/** One connection to each database, taking tables from the queue until it is empty. */
async function copyStream(
  options: CopyOptions,
  queue: TablePlan[],
  copied: Map<number, Copied>,
  tally: Tally,
): Promise<void> {
  const { endpoints, lease } = options;
  const db = openSource(endpoints.sourcePath, 'read');
  try {
    proveEncoder(db);
    const client = await connectTarget(endpoints.targetUrl, { applicationName: applicationName(lease) });
    try {
      const applier: Applier = { client, lease, replica: await mayActAsReplica(client) };
      for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
        const state = copied.get(table.id);
        if (state === undefined) throw new Error(`no checkpoint row for table ${table.name}`);
        await copyTable(options, applier, db, table, state, tally);
        if (options.signal.aborted) return;
      }
    } finally {
      await client.end();
    }
  } finally {
    db.close();
  }
}

/** Copies a table from its checkpoint; one without a key from its beginning, whenever a VACUUM has numbered its rows anew. */
async function copyTable(
  options: CopyOptions,
  applier: Applier,
  db: Database.Database,
  table: TablePlan,
  state: Copied,
  tally: Tally,
): Promise<void> {
  for (;;) {
    try {
      return await copyRows(options, applier, db, table, state, tally);
    } catch (error) {
      if (!(error instanceof Renumbered)) throw error;
      await beginAgain(applier, table, state, tally);
    }
  }
}

async function copyRows(
  options: CopyOptions,
  applier: Applier,
  db: Database.Database,
  table: TablePlan,
  state: Copied,
  tally: Tally,
): Promise<void> {
  if (state.state === 'pending') {
    const numbering = table.rowNumbered ? await namedNumbering(db, options.endpoints.sourcePath) : null;
    await beginTable(applier, db, state, numbering);
  }
  const reader = new ChunkReader(db, table, state.numbering);
  const [reading, travelling] = [new CopyBuffer(), new CopyBuffer()];
  let sending: Promise<unknown> = Promise.resolve();
  for (let text = reading; ; text = text === reading ? travelling : reading) {
    const batch = await readBatch(reader, table, state.lastKey, options.settings, text).catch(
      async (error: unknown) => {
        await sending;
        throw error;
      },
    );
    // The batch before travels while this one is read; it must have arrived before the checkpoint moves on.
    await sending;
    if (batch.last === null || options.signal.aborted) break;
    state.lastKey = batch.last;
    state.rows += batch.rows;
    state.bytes += batch.bytes;
    sending = sendBatch(applier, table, batch);
    // Awaited above; this only keeps a rejection that arrives during a read from being called unhandled.
    sending.catch(() => undefined);
    tally.rows += batch.rows;
    tally.bytes += batch.bytes;
    const rate = tally.rate.add(batch.rows, batch.bytes);
    options.onProgress({
      kind: 'copy',
      table: table.name,
      rows: tally.rows,
      rowsTotal: Math.max(tally.rowsTotal, tally.rows),
      bytes: tally.bytes,
      ...rate,
    });
    if (options.settings.maxRowsPerSecond > 0) {
      const share = options.settings.maxRowsPerSecond / options.settings.parallel;
      await pause((batch.rows / share) * 1_000, options.signal);
    }
  }
  if (options.signal.aborted) return;
  await finishTable(applier, state);
}

/** Takes the log position before the first chunk: what changes from here on is replayed after the copy. */
async function beginTable(
  applier: Applier,
  db: Database.Database,
  state: Copied,
  numbering: bigint | null,
): Promise<void> {
  state.replayFrom = logHead(db).position;
  state.numbering = numbering;
  await checkpoint(
    applier,
    `UPDATE crossfade.copied SET state = 'copying', replay_from = ${state.replayFrom}, replayed_to = ${state.replayFrom},
            numbering = ${numbering ?? 'NULL'}
      WHERE table_id = ${state.tableId} AND state = 'pending'`,
  );
  state.state = 'copying';
}

async function beginAgain(applier: Applier, table: TablePlan, state: Copied, tally: Tally): Promise<void> {
  await applyBatch(applier, {
    tables: [],
    quarantine: [],
    healed: [],
    checkpointSql: [
      ...emptyTableSql(table),
      `UPDATE crossfade.copied SET state = 'pending', last_key = NULL, rows = 0, bytes = 0 WHERE table_id = ${table.id}`,
    ].join('; '),
  });
  tally.rows -= state.rows;
  tally.bytes -= state.bytes;
  Object.assign(state, { state: 'pending', lastKey: null, rows: 0, bytes: 0 });
}

async function finishTable(applier: Applier, state: Copied): Promise<void> {
  await checkpoint(
    applier,
    `UPDATE crossfade.copied SET state = 'copied' WHERE table_id = ${state.tableId} AND state = 'copying'`,
  );
  state.state = 'copied';
}

async function checkpoint(applier: Applier, sql: string): Promise<void> {
  try {
    await applier.client.query(`${sql}; ${holdLeaseSql(applier.lease)}`);
  } catch (error) {
    throw leaseError(error);
  }
}

interface ReadBatch {
  /** COPY text of the rows. */
  text: CopyBuffer;
  rows: number;
  bytes: number;
  last: KeyValue[] | null;
  quarantine: Quarantined[];
}

/** Reads chunks until they fill a batch, giving the event loop a turn between them. */
async function readBatch(
  reader: ChunkReader,
  table: TablePlan,
  after: KeyValue[] | null,
  settings: MigrationInput['copy'],
  text: CopyBuffer,
): Promise<ReadBatch> {
  text.clear();
  const batch: ReadBatch = { text, rows: 0, bytes: 0, last: null, quarantine: [] };
  const limit = reader.rowLimit(settings.batchRows);
  while (batch.bytes < settings.batchBytes) {
    const chunk = reader.read(batch.last ?? after, limit, text);
    if (chunk.last === null) break;
    batch.rows += chunk.rows;
    batch.bytes = text.length;
    batch.last = chunk.last;
    for (const row of chunk.setAside) batch.quarantine.push({ tableId: table.id, ...row });
    await yieldToLoop();
  }
  return batch;
}

function sendBatch(applier: Applier, table: TablePlan, batch: ReadBatch): Promise<Quarantined[]> {
  const lastKey = literal(keyText(batch.last!));
  return applyBatch(applier, {
    tables: [{ table, deletions: [], rows: batch.text.length === 0 ? null : batch.text.contents }],
    quarantine: batch.quarantine,
    healed: [],
    checkpointSql:
      `UPDATE crossfade.copied SET last_key = ${lastKey}, rows = rows + ${batch.rows}, ` +
      `bytes = bytes + ${batch.bytes} WHERE table_id = ${table.id}`,
  });
}
