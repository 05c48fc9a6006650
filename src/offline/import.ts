/**
 * From a dump to PostgreSQL without the source: the dump becomes a SQLite database, and that is moved by the steps of a
 * migration. Nobody writes to it meanwhile, so each step is taken once, here, and what fails takes the target back to empty.
 */
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import type pg from 'pg';
import type { CopyReport, Plan, Verdict, ViewsReport } from '../contract.ts';
import { DEFAULT_INPUT } from '../contract.ts';
import { asciiLower } from '../databases/identifiers.ts';
import { connectTarget, describeTarget } from '../databases/postgres/connection.ts';
import { readControl } from '../databases/postgres/control.ts';
import type { Lease } from '../databases/sqlite/control.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { beginMigration, checkFree } from '../engine/begin.ts';
import { copyTables } from '../engine/copy.ts';
import { cutOver } from '../engine/cutover.ts';
import type { Endpoints } from '../engine/endpoints.ts';
import { finishMigration } from '../engine/finish.ts';
import type { PlanChoices } from '../engine/plan.ts';
import { planSource } from '../engine/plan-source.ts';
import { Replayer } from '../engine/replay.ts';
import { startCapture } from '../engine/source-control.ts';
import { createIndexes } from '../engine/target-indexes.ts';
import { addForeignKeys, createTables, leaveTarget } from '../engine/target-schema.ts';
import { verifyStep } from '../engine/verify-step.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import { acceptsWrites } from '../protocol.ts';
import { verdictLine } from '../verdict-text.ts';
import { loadDump } from './load-dump.ts';
import { loadFolder } from './load-folder.ts';
import { Losses } from './losses.ts';
import { Scratch } from './scratch.ts';

export interface ImportOptions {
  /** A file of SQL, or a folder of JSON with the schema. */
  from: string;
  targetUrl: string;
  choices: PlanChoices;
  /** Where the SQLite database is made; it takes about the dump's size. */
  tempFolder: string;
  signal: AbortSignal;
  events: ImportEvents;
}

/** Told as the import goes. */
export interface ImportEvents {
  loaded(bytes: number, ms: number): void;
  /** What the dump had lost before it came here. */
  lost(notices: string[]): void;
  planned(plan: Plan): void;
  copied(report: CopyReport): void;
  indexed(views: ViewsReport): void;
  verified(verdict: Verdict): void;
}

/** Name of every import's migration, by which a later one knows what one that was killed has left. */
const MIGRATION = 'crossfade import';
/** Advisory lock in the target that an import holds while it runs. Any fixed number. */
const LOCK = '7883941624427734273';
/** Nobody waits for the writes that the cutover stops. */
const MAX_PAUSE_MS = 10 * 60_000;

/**
 * Loads the dump, plans, copies, compares everything, and leaves the target with the application's tables alone.
 * @returns the plan; with blockers in it nothing was created
 * @throws CrossfadeError InvalidInput for what is no dump or not a whole one, TargetNotEmpty, MigrationExists; Mismatch;
 *   with the target as it was
 */
export async function importDump(options: ImportOptions): Promise<Plan> {
  const { targetUrl, events, signal } = options;
  const lock = await lockTarget(targetUrl);
  try {
    const scratch = await Scratch.create(options.tempFolder);
    try {
      const endpoints = { sourcePath: scratch.path, targetUrl };
      // Before the dump is read, which may take an hour.
      await checkFree(endpoints, MIGRATION);
      await load(options, scratch);
      const plan = await planSource(endpoints, MIGRATION, options.choices);
      events.planned(plan);
      if (plan.blockers.length > 0) return plan;
      signal.throwIfAborted();
      try {
        await move(endpoints, plan, events, signal);
      } catch (error) {
        throw await takenBack(endpoints, error);
      }
      return plan;
    } finally {
      await scratch.remove();
    }
  } finally {
    await lock.end();
  }
}

/** @throws CrossfadeError MigrationExists where another import is at it, or one died when it had all but ended */
async function lockTarget(targetUrl: string): Promise<pg.Client> {
  const client = await connectTarget(targetUrl, { applicationName: 'crossfade import' });
  try {
    const { rows } = await client.query<{ free: boolean }>(`SELECT pg_try_advisory_lock(${LOCK}) AS free`);
    const where = describeTarget(targetUrl);
    if (rows[0]?.free !== true) {
      throw new CrossfadeError('MigrationExists', `target ${where}: another import into it is under way`);
    }
    const control = await readControl(client);
    if (control?.migration === MIGRATION) {
      if (acceptsWrites(control)) {
        throw new CrossfadeError(
          'MigrationExists',
          `target ${where} has everything of an import that was ended before it could say so: use it as it is, without ` +
            'schema "crossfade", or create an empty database and import again',
        );
      }
      await leaveTarget({ sourcePath: '', targetUrl }, MIGRATION, 'drop');
    }
    return client;
  } catch (error) {
    await client.end();
    throw error;
  }
}

async function load({ from, choices, signal, events }: ImportOptions, scratch: Scratch): Promise<void> {
  const found = statSync(from, { throwIfNoEntry: false });
  if (found === undefined) throw new CrossfadeError('InvalidInput', `${from} does not exist: check the path`);
  if (found.isFile() && found.size === 0)
    throw new CrossfadeError('InvalidInput', `${from} is empty (0 bytes): check the path`);
  const started = performance.now();
  const losses = new Losses();
  let bytes = 0;
  const onBytes = (read: number): void => void (bytes += read);
  const skipped = new Set(
    Object.entries(choices.overrides)
      .filter(([, { skip }]) => skip === true)
      .map(([table]) => asciiLower(table)),
  );
  await scratch.load(async (db) => {
    const createTriggers = found.isDirectory()
      ? await loadFolder(db, from, skipped, losses, signal, onBytes)
      : await loadDump(db, from, losses, signal, onBytes);
    createTriggers();
  });
  events.loaded(bytes, Math.round(performance.now() - started));
  const db = openSource(scratch.path, 'read');
  try {
    events.lost(losses.notices(db));
  } finally {
    db.close();
  }
}

async function move(
  endpoints: Endpoints,
  plan: Plan,
  events: ImportEvents,
  signal: AbortSignal,
): Promise<void> {
  let [epoch, ordinal] = [1, 0];
  const lease = <Role extends string>(role: Role): Lease<Role> => {
    ordinal++;
    return { role, epoch, ordinal, holder: randomUUID(), migration: MIGRATION };
  };
  const onProgress = (): void => undefined;

  await beginMigration(endpoints, MIGRATION, plan);
  await createTables(endpoints, lease('control'));
  await startCapture(endpoints.sourcePath, lease('control'), plan, DEFAULT_INPUT.capture);
  const copied = await copyTables({
    endpoints,
    lease: lease('copy'),
    tables: plan.tables,
    settings: DEFAULT_INPUT.copy,
    signal,
    onProgress,
  });
  signal.throwIfAborted();
  events.copied(copied);
  await replay(endpoints, lease('replay'));
  events.indexed(await createIndexes(endpoints, lease('control'), signal));
  const { mode, sampleRows } = DEFAULT_INPUT.verify;
  const verdict = await verifyStep({
    endpoints,
    lease: lease('control'),
    mode,
    sampleRows,
    signal,
    onProgress,
  });
  signal.throwIfAborted();
  if (!verdict.equal) throw new CrossfadeError('Mismatch', verdictLine(verdict));
  events.verified(verdict);
  const withForeignKeys = await addForeignKeys(endpoints, lease('control'));
  signal.throwIfAborted();
  const report = await cutOver({
    endpoints,
    replayLease: lease('replay'),
    sourceLease: lease('control'),
    maxPauseMs: MAX_PAUSE_MS,
    signal,
  });
  if (report.outcome === 'returned') throw new CrossfadeError('CutoverReturned', report.reason ?? '');
  epoch = report.epoch;
  if (!withForeignKeys) await addForeignKeys(endpoints, lease('control'));
  await finishMigration(endpoints, lease('reverse'), 'free');
  await dropControl(endpoints);
}

/** Makes the copied tables live. */
async function replay(endpoints: Endpoints, lease: Lease<'replay'>): Promise<void> {
  const replayer = await Replayer.open(endpoints, lease);
  try {
    while ((await replayer.step()) > 0);
  } finally {
    await replayer.close();
  }
}

/** The source was made for this and goes: no router will ever ask for the control row. */
async function dropControl({ targetUrl }: Endpoints): Promise<void> {
  const client = await connectTarget(targetUrl, { applicationName: 'crossfade import' });
  try {
    await client.query('DROP SCHEMA crossfade CASCADE');
  } finally {
    await client.end();
  }
}

/** Empties the target after a failure. @returns the failure, with what else went wrong told in it */
async function takenBack(endpoints: Endpoints, error: unknown): Promise<unknown> {
  try {
    await leaveTarget(endpoints, MIGRATION, 'drop');
    return error;
  } catch (another) {
    const code = error instanceof CrossfadeError ? error.code : 'Internal';
    return new CrossfadeError(
      code,
      `${messageOf(error)}; and the target could not be emptied again (${messageOf(another)}): drop its tables and schema "crossfade"`,
      error,
    );
  }
}
