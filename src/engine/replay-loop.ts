/** Keeps the target (before the cutover) or the source (after it) up to date until told to stop. */
import type Database from 'better-sqlite3';
import type { Progress } from '../contract.ts';
import { CrossfadeError, driverCode } from '../errors.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import { cut } from '../databases/postgres/reach.ts';
import type { TargetLease } from '../databases/postgres/lease.ts';
import { openSource, SourceFile } from '../databases/sqlite/connection.ts';
import { readControl } from '../databases/sqlite/control.ts';
import { trimLog } from '../databases/sqlite/log.ts';
import { isBusy, writeTransaction } from '../databases/sqlite/transaction.ts';
import { pause, type Endpoints } from './endpoints.ts';
import { quarantineFigures } from './quarantine.ts';
import { Replayer } from './replay.ts';
import { ReverseReplayer } from './reverse.ts';
import { SourceWatch, type SourceLease } from './source-control.ts';
import { readCheckpoint, readCopied } from './store.ts';

/** How often the source is asked whether anyone has committed; the question costs microseconds. */
const POLL_MS = 10;
/** How long to wait where a table of the target is locked. */
const LOCKED_MS = 250;
/** How often slower duties are done: the caught-up report, what other steps asked for, progress. */
const DUTIES_MS = 1_000;
/** A turn that takes longer is looked after. */
const SILENCE_MS = 5_000;
const TRIM_MS = 5_000;
const TRIM_ROWS = 10_000;
/** Reverse changes are looked for by a query, so a little less often. */
const REVERSE_POLL_MS = 20;

export interface LoopOptions {
  endpoints: Endpoints;
  signal: AbortSignal;
  onProgress(progress: Progress): void;
}

/** `stopped` by the signal, or `superseded` by the owner of a later lease. */
export type LoopEnd = 'stopped' | 'superseded';

/**
 * Replays from the source to the target until the signal aborts or another owner takes the lease.
 * @throws CrossfadeError SchemaChanged, LogDiscontinuity: what was captured can no longer be trusted
 */
export async function replayLoop(options: LoopOptions, lease: TargetLease): Promise<LoopEnd> {
  return untilSuperseded(options.endpoints, lease, async () => {
    const file = new SourceFile(options.endpoints.sourcePath);
    const replayer = await Replayer.open(options.endpoints, lease);
    const turn = { at: performance.now() };
    const watch = setInterval(() => void endIfTakenOver(options.endpoints, replayer, turn), SILENCE_MS);
    try {
      await follow(options, replayer, file, turn);
    } finally {
      clearInterval(watch);
      await replayer.close();
    }
  });
}

/**
 * A later owner ends our connection, but where the network lost it without a word we would wait for an answer for ever,
 * and the workflow for us.
 */
async function endIfTakenOver(
  endpoints: Endpoints,
  { applier: { client, lease } }: Replayer,
  turn: { at: number },
): Promise<void> {
  if (performance.now() - turn.at < SILENCE_MS) return;
  // Where the server does not answer this question either, there is nothing to do yet.
  if (await takenOver(endpoints, lease).catch(() => false)) cut(client);
}

async function follow(
  options: LoopOptions,
  replayer: Replayer,
  file: SourceFile,
  turn: { at: number },
): Promise<void> {
  const watch = new SourceWatch(replayer.db, replayer.plan);
  const version = replayer.db.prepare('PRAGMA data_version').pluck();
  let seen: unknown;
  let dutiesAt = 0;
  let trimAt = performance.now() + TRIM_MS;
  while (!options.signal.aborted) {
    turn.at = performance.now();
    const now = version.get();
    if (now !== seen) {
      watch.check();
      // The version is read before the step: a commit during the step is seen at the next turn.
      if ((await stepUnlessLocked(options, replayer)) === 0) seen = now;
    } else {
      replayer.stillCaughtUp();
    }
    if (performance.now() >= dutiesAt) {
      dutiesAt = performance.now() + DUTIES_MS;
      file.proveSame();
      await duties(options, replayer);
      // A table whose copy has ended is taken up although nobody has committed.
      seen = undefined;
    }
    if (performance.now() >= trimAt) {
      trimAt = performance.now() + TRIM_MS;
      await trim(options.endpoints, replayer);
    }
    if (now === seen) await pause(POLL_MS, options.signal);
  }
}

/** @returns as `step`; also where somebody holds a table of the target, as the building of an index does: then not 0 */
async function stepUnlessLocked(options: LoopOptions, replayer: Replayer): Promise<number> {
  try {
    return await replayer.step();
  } catch (error) {
    // 55P03: lock_timeout. Nothing was applied, and there is nothing to do but to try again.
    if (driverCode(error) !== '55P03') throw error;
    await pause(LOCKED_MS, options.signal);
    return 1;
  }
}

async function duties(options: LoopOptions, replayer: Replayer): Promise<void> {
  await replayer.refresh();
  const head = replayer.head().position;
  if (head === replayer.checkpoint.position) await replayer.reportCaughtUp();
  options.onProgress({
    kind: 'replay',
    position: Number(replayer.checkpoint.position),
    head: Number(head),
    lagMs: Math.round(replayer.lagMs() ?? 0),
    changes: replayer.applied,
    ...(await quarantineFigures(replayer.applier.client, replayer.plan.tables)),
  });
}

/** Log rows that every reader has passed: replay, verification, and tables whose replay has not begun. */
async function trim(endpoints: Endpoints, replayer: Replayer): Promise<void> {
  const { verifiedPosition } = await readCheckpoint(replayer.applier.client);
  if (verifiedPosition === null) return;
  const copied = [...(await readCopied(replayer.applier.client)).values()];
  if (copied.some((table) => table.state !== 'live')) return;
  const bound =
    verifiedPosition < replayer.checkpoint.position ? verifiedPosition : replayer.checkpoint.position;
  const db: Database.Database = openSource(endpoints.sourcePath, 'write');
  try {
    await writeTransaction(db, () => trimLog(db, bound, TRIM_ROWS), DUTIES_MS);
  } catch (error) {
    // Trimming can wait for a quieter moment; anything else is told.
    const busy = error instanceof CrossfadeError && error.code === 'SourceBusy';
    if (!busy && !isBusy(error)) throw error;
  } finally {
    db.close();
  }
}

/**
 * Replays from the target to the source while the target is primary.
 * @throws CrossfadeError connection errors
 */
export async function reverseLoop(options: LoopOptions, lease: SourceLease): Promise<LoopEnd> {
  return untilSuperseded(options.endpoints, null, async () => {
    const file = new SourceFile(options.endpoints.sourcePath);
    try {
      const replayer = await ReverseReplayer.open(options.endpoints, lease);
      try {
        await followBack(options, replayer, file);
      } finally {
        await replayer.close();
      }
    } catch (error) {
      if (error instanceof CrossfadeError && error.code === 'LeaseLost')
        proveNotBefore(options.endpoints, lease);
      throw error;
    }
  });
}

/**
 * A lease is also lost where the file was put back to a time before the cutover; nobody has taken over then, and what
 * the target takes would go nowhere.
 * @throws CrossfadeError LogDiscontinuity
 */
function proveNotBefore(endpoints: Endpoints, lease: SourceLease): void {
  const db = openSource(endpoints.sourcePath, 'read');
  try {
    const control = readControl(db);
    // None: a rollback has ended.
    if (control === null || control.epoch >= lease.epoch) return;
    throw new CrossfadeError(
      'LogDiscontinuity',
      `source ${db.name} is from before the cutover (epoch ${control.epoch}, the target's is ${lease.epoch}): the file ` +
        'was restored; put the newer file back',
    );
  } finally {
    db.close();
  }
}

async function followBack(options: LoopOptions, replayer: ReverseReplayer, file: SourceFile): Promise<void> {
  let dutiesAt = 0;
  let caughtUpAt = performance.now();
  while (!options.signal.aborted) {
    if (performance.now() >= dutiesAt) {
      file.proveSame();
      await replayer.mend();
    }
    const lookedAt = performance.now();
    const applied = await replayer.step();
    if (applied === 0) {
      caughtUpAt = lookedAt;
      await pause(REVERSE_POLL_MS, options.signal);
    }
    if (performance.now() >= dutiesAt) {
      dutiesAt = performance.now() + DUTIES_MS;
      options.onProgress({
        kind: 'replay',
        position: replayer.applied,
        head: replayer.applied + (await replayer.backlog()),
        lagMs: Math.round(performance.now() - caughtUpAt),
        changes: replayer.applied,
        ...(await replayer.refused()),
      });
    }
  }
}

async function untilSuperseded(
  endpoints: Endpoints,
  lease: TargetLease | null,
  work: () => Promise<void>,
): Promise<LoopEnd> {
  try {
    await work();
    return 'stopped';
  } catch (error) {
    if (error instanceof CrossfadeError && error.code === 'LeaseLost') return 'superseded';
    // What a later owner does looks like a fault from here: it ends our connection, and a cutover drops the capture
    // triggers. The lease tells.
    if (lease !== null && (await takenOver(endpoints, lease))) return 'superseded';
    throw error;
  }
}

async function takenOver(endpoints: Endpoints, lease: TargetLease): Promise<boolean> {
  const client = await connectTarget(endpoints.targetUrl, {
    applicationName: 'crossfade replay',
    answerMs: SILENCE_MS,
  });
  try {
    const { rows } = await client.query<{ ordinal: string }>(
      'SELECT ordinal FROM crossfade.lease WHERE role = $1',
      [lease.role],
    );
    return Number(rows[0]?.ordinal ?? 0) > lease.ordinal;
  } finally {
    await client.end();
  }
}
