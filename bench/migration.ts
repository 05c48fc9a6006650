/** The steps of a migration around the one that is measured, driven directly: no Temporal. */
import { randomUUID } from 'node:crypto';
import { DEFAULT_INPUT, type CopyReport, type CutoverReport } from '../src/contract.ts';
import { openSource } from '../src/databases/sqlite/connection.ts';
import type { Lease } from '../src/databases/sqlite/control.ts';
import { sqliteSequences } from '../src/databases/sqlite/sequences.ts';
import { beginMigration } from '../src/engine/begin.ts';
import { cutOver } from '../src/engine/cutover.ts';
import type { Endpoints } from '../src/engine/endpoints.ts';
import { cleanSource } from '../src/engine/finish.ts';
import { replayLoop, reverseLoop, type LoopEnd, type LoopOptions } from '../src/engine/replay-loop.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { startCapture } from '../src/engine/source-control.ts';
import { createIndexes } from '../src/engine/target-indexes.ts';
import {
  addForeignKeys,
  advanceSequences,
  changeTarget,
  createTables,
  leaveTarget,
} from '../src/engine/target-schema.ts';
import { awaitCatchUp, verifyStep } from '../src/engine/verify-step.ts';
import type { Source } from './bench.ts';
import type { CatchUpInput } from './tasks/catch-up.ts';
import type { CopyInput } from './tasks/copy.ts';
import type { Spans, WorkerInput } from './tasks/worker.ts';
import { runTask, type Done } from './tasks/run-task.ts';

/** Replay beside whatever is measured, in this process. */
export interface Following {
  /** @throws what ended it before */
  stop(): Promise<void>;
}

export class BenchMigration {
  readonly source: Source;
  readonly endpoints: Endpoints;
  readonly #name = `bench-${randomUUID().slice(0, 8)}`;
  readonly #signal: AbortSignal;
  #ordinal = 0;
  #epoch = 1;

  constructor(source: Source, targetUrl: string, signal: AbortSignal) {
    this.source = source;
    this.endpoints = { sourcePath: source.path, targetUrl };
    this.#signal = signal;
  }

  /** Up to the point where the copy may start: tables with their keys, capture on. */
  async begin(): Promise<void> {
    const { endpoints, source } = this;
    await beginMigration(endpoints, this.#name, source.plan);
    await createTables(endpoints, this.#lease('control'));
    await startCapture(endpoints.sourcePath, this.#lease('control'), source.plan, DEFAULT_INPUT.capture);
  }

  /** @param tables default: every table */
  copy(tables = this.source.plan.tables): Promise<Done<CopyReport>> {
    const { endpoints } = this;
    return runTask<CopyInput, CopyReport>(
      'copy',
      { endpoints, lease: this.#lease('copy'), tables, settings: DEFAULT_INPUT.copy },
      this.#signal,
    );
  }

  /** Everything from here up to the first shift, in a process of its own, as one worker does it. */
  async work(quietMs: number, maxLagMs: number): Promise<Spans> {
    const leases: WorkerInput['leases'] = {
      replay: this.#lease('replay'),
      copy: this.#lease('copy'),
      catchUp: this.#lease('control'),
      indexes: this.#lease('control'),
      verification: this.#lease('control'),
    };
    const { endpoints, source } = this;
    const { tables } = source.plan;
    const input = { endpoints, leases, tables, settings: DEFAULT_INPUT.copy, maxLagMs, quietMs };
    return (await runTask<WorkerInput, Spans>('worker', input, this.#signal)).result;
  }

  async index(): Promise<void> {
    await createIndexes(this.endpoints, this.#lease('control'), this.#signal);
  }

  /** @throws Error where the role may not add them before the cutover */
  async addForeignKeys(): Promise<void> {
    if (await addForeignKeys(this.endpoints, this.#lease('control'))) return;
    throw new Error('the role may not switch foreign-key actions off, so foreign keys wait for the cutover');
  }

  /** Moves every sequence past what the source has handed out, as the cutover does. */
  async advanceSequences(): Promise<void> {
    const lease = this.#lease('control');
    const db = openSource(this.source.path, 'read');
    try {
      await changeTarget(this.endpoints, lease, (client, plan) =>
        advanceSequences(client, lease, plan, sqliteSequences(db)),
      );
    } finally {
      db.close();
    }
  }

  /** Replays what the log holds. Result: changes applied. */
  catchUp(): Promise<Done<number>> {
    const input = { endpoints: this.endpoints, lease: this.#lease('replay') };
    return runTask<CatchUpInput, number>('catch-up', input, this.#signal);
  }

  /** Follows the source until told to stop, or until a switch takes over. */
  replay(): Following {
    const lease = this.#lease('replay');
    return this.#follow((options) => replayLoop(options, lease));
  }

  /** As `replay`, from the target back to the source. */
  reverse(): Following {
    const lease = this.#lease('reverse');
    return this.#follow((options) => reverseLoop(options, lease));
  }

  #follow(loop: (options: LoopOptions) => Promise<LoopEnd>): Following {
    const stopping = new AbortController();
    const signal = AbortSignal.any([stopping.signal, this.#signal]);
    const options: LoopOptions = { endpoints: this.endpoints, signal, onProgress: () => undefined };
    // As under Temporal: an attempt whose connection a later owner has ended is repeated, and its lease tells.
    const ended = loop(options).catch(() => loop(options));
    ended.catch(() => undefined);
    return {
      stop: async () => {
        stopping.abort();
        await ended;
      },
    };
  }

  /** Waits until replay keeps up, and verifies in full. @throws Error where the databases differ */
  async verify(maxLagMs: number): Promise<void> {
    await awaitCatchUp(this.endpoints, maxLagMs, this.#lease('control'), this.#signal);
    const { equal, mismatches } = await verifyStep({
      endpoints: this.endpoints,
      lease: this.#lease('control'),
      mode: 'full',
      sampleRows: 100,
      signal: this.#signal,
      onProgress: () => undefined,
    });
    if (!equal) throw new Error(`the databases differ: ${JSON.stringify(mismatches)}`);
  }

  /** @throws Error where the writes have not moved */
  async cutOver(maxPauseMs: number): Promise<CutoverReport> {
    const report = await cutOver({
      endpoints: this.endpoints,
      replayLease: this.#lease('replay'),
      sourceLease: this.#lease('control'),
      maxPauseMs,
      signal: this.#signal,
    });
    return this.#moved(report);
  }

  /** @throws Error where the writes have not moved */
  async moveWritesBack(maxPauseMs: number): Promise<CutoverReport> {
    const { endpoints } = this;
    return this.#moved(await moveWritesBack({ endpoints, lease: this.#lease('reverse'), maxPauseMs }));
  }

  #moved(report: CutoverReport): CutoverReport {
    if (report.outcome !== 'moved') throw new Error(`the writes did not move: ${report.reason}`);
    this.#epoch = report.epoch;
    return report;
  }

  /** Leaves nothing of ours in the source. */
  async end(): Promise<void> {
    await cleanSource(this.endpoints, this.#name);
  }

  /** Leaves nothing of ours in either database, and no table in the target. */
  async endBoth(): Promise<void> {
    await this.end();
    await leaveTarget(this.endpoints, this.#name, 'drop');
  }

  #lease<Role extends string>(role: Role): Lease<Role> {
    this.#ordinal++;
    return { role, epoch: this.#epoch, ordinal: this.#ordinal, holder: randomUUID() };
  }
}
