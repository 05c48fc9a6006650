/** The steps of a migration around the one that is measured, driven directly: no Temporal. */
import { randomUUID } from 'node:crypto';
import { DEFAULT_INPUT, type CopyReport } from '../src/contract.ts';
import type { Lease } from '../src/databases/sqlite/control.ts';
import { beginMigration } from '../src/engine/begin.ts';
import type { Endpoints } from '../src/engine/endpoints.ts';
import { cleanSource } from '../src/engine/finish.ts';
import { startCapture } from '../src/engine/source-control.ts';
import { createIndexes } from '../src/engine/target-indexes.ts';
import { createTables } from '../src/engine/target-schema.ts';
import type { Source } from './bench.ts';
import type { CatchUpInput } from './tasks/catch-up.ts';
import type { CopyInput } from './tasks/copy.ts';
import { runTask, type Done } from './tasks/run-task.ts';

export class BenchMigration {
  readonly source: Source;
  readonly endpoints: Endpoints;
  readonly #name = `bench-${randomUUID().slice(0, 8)}`;
  readonly #signal: AbortSignal;
  #ordinal = 0;

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

  copy(): Promise<Done<CopyReport>> {
    const { endpoints, source } = this;
    return runTask<CopyInput, CopyReport>(
      'copy',
      { endpoints, lease: this.#lease('copy'), tables: source.plan.tables, settings: DEFAULT_INPUT.copy },
      this.#signal,
    );
  }

  async index(): Promise<void> {
    await createIndexes(this.endpoints, this.#lease('control'), this.#signal);
  }

  /** Replays what the log holds. Result: changes applied. */
  catchUp(): Promise<Done<number>> {
    const input = { endpoints: this.endpoints, lease: this.#lease('replay') };
    return runTask<CatchUpInput, number>('catch-up', input, this.#signal);
  }

  /** Leaves nothing of ours in the source. */
  async end(): Promise<void> {
    await cleanSource(this.endpoints, this.#name);
  }

  #lease<Role extends string>(role: Role): Lease<Role> {
    this.#ordinal++;
    return { role, epoch: 1, ordinal: this.#ordinal, holder: randomUUID() };
  }
}
