/** What a worker does up to the first shift, replay beside every step, on one event loop. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MigrationInput, TablePlan } from '../../src/contract.ts';
import type { TargetLease } from '../../src/databases/postgres/lease.ts';
import { copyTables } from '../../src/engine/copy.ts';
import type { Endpoints } from '../../src/engine/endpoints.ts';
import { replayLoop } from '../../src/engine/replay-loop.ts';
import { createIndexes } from '../../src/engine/target-indexes.ts';
import { awaitCatchUp, verifyStep } from '../../src/engine/verify-step.ts';
import { epochMs } from '../clock.ts';
import { serve } from './serve.ts';

export interface WorkerInput {
  endpoints: Endpoints;
  /** In the order in which they are taken. */
  leases: Record<'replay' | 'copy' | 'catchUp' | 'indexes' | 'verification', TargetLease>;
  tables: TablePlan[];
  settings: MigrationInput['copy'];
  maxLagMs: number;
  /** For how long replay runs alone before the copy. */
  quietMs: number;
}

export type WorkerStep = 'replay alone' | 'copy' | 'indexes' | 'verification';

/** When each step began and ended, ms since 1970. */
export type Spans = Record<WorkerStep, { from: number; to: number }>;

serve<WorkerInput, Spans>(async ({ endpoints, leases, tables, settings, maxLagMs, quietMs }) => {
  const stopping = new AbortController();
  const { signal } = stopping;
  const onProgress = (): void => undefined;
  const replay = replayLoop({ endpoints, signal, onProgress }, leases.replay);
  // Its failure ends whatever runs beside it.
  replay.catch(() => stopping.abort());
  const spans: Partial<Spans> = {};
  const during = async (step: WorkerStep, work: () => Promise<unknown>): Promise<void> => {
    const from = epochMs();
    await work();
    spans[step] = { from, to: epochMs() };
  };
  await during('replay alone', () => sleep(quietMs));
  await during('copy', () =>
    copyTables({ endpoints, lease: leases.copy, tables, settings, signal, onProgress }),
  );
  await awaitCatchUp(endpoints, maxLagMs, leases.catchUp, signal);
  await during('indexes', () => createIndexes(endpoints, leases.indexes, signal));
  await during('verification', async () => {
    const lease = leases.verification;
    const verdict = await verifyStep({ endpoints, lease, mode: 'full', sampleRows: 100, signal, onProgress });
    if (!verdict.equal) throw new Error(`the databases differ: ${JSON.stringify(verdict.mismatches)}`);
  });
  stopping.abort();
  await replay;
  return spans as Spans;
});
