/** The migration inside the demo: starts the workflow, shows it, and aborts it after the cutover where that is wanted. */
import type { Client, WorkflowHandle } from '@temporalio/client';
import { abortSignal, approveSignal } from '../workflows/messages.ts';
import { createView, type Terminal } from '../src/cli/view/live.ts';
import { workflowUrl } from '../src/cli/view/snapshot.ts';
import { askStatus, watchMigration } from '../src/cli/view/watch.ts';
import { DEFAULT_INPUT, TASK_QUEUE, type MigrationInput, type MigrationReport } from '../src/contract.ts';
import type { TemporalServer } from '../src/embedded/temporal.ts';
import type { DemoOptions } from './arguments.ts';
import { Operator } from './operator.ts';
import { SOURCE_KINDS } from './sources/kinds.ts';
import type { Traffic } from './traffic.ts';
import type { WorkerKeeper } from './worker-keeper.ts';

export interface MigrationParts {
  client: Client;
  temporal: TemporalServer;
  workflowId: string;
  options: DemoOptions;
  traffic: Traffic;
  worker: WorkerKeeper;
  terminal: Terminal;
  /** Ends the view; the workflow goes on. */
  signal: AbortSignal;
}

/** A rollback ends the soak by its own signal; the workflow must not end it before. */
const NO_END_MS = 24 * 60 * 60_000;
/** Without these, nothing would have to come back. */
const WRITES_ON_TARGET = 50;

/** The input of the workflow: the strategy's defaults but for the time that a person would watch. */
export function migrationInput(options: DemoOptions): Partial<MigrationInput> {
  // About 60 % of the operations are reads, and the smallest stage sends a tenth of them to the target; half of
  // those that are expected are enough to judge it by.
  const expected = (options.ops * 0.6 * 0.1 * options.stageWaitMs) / 1_000;
  return {
    shift: { ...DEFAULT_INPUT.shift, stageWaitMs: options.stageWaitMs },
    gates: {
      ...DEFAULT_INPUT.gates,
      minSamples: Math.max(10, Math.min(DEFAULT_INPUT.gates.minSamples, Math.floor(expected / 2))),
      latencyFloorMs: SOURCE_KINDS[options.source].latencyFloorMs,
    },
    soakMs: options.rollback ? NO_END_MS : options.soakMs,
  };
}

export interface FinishedMigration {
  report: MigrationReport;
  /** What the workflow waited for until the demo approved it. */
  holds: string[];
}

/** Runs the workflow to its end. @throws Error where it ended without a report */
export async function runMigration(parts: MigrationParts): Promise<FinishedMigration> {
  const { client, temporal, workflowId, options, traffic, worker, terminal, signal } = parts;
  const handle = await client.workflow.start('migrateDatabase', {
    taskQueue: TASK_QUEUE,
    workflowId,
    args: [migrationInput(options)],
  });
  const { uiUrl, namespace } = temporal;
  const screen = terminal.isTTY === true && !options.plain;
  const view = await createView(terminal, process.env, options.plain);
  const operator = new Operator(
    {
      approve: () => handle.signal(approveSignal),
      abort: (reason) => handle.signal(abortSignal, reason),
    },
    (line) => terminal.write(`${line}\n`),
  );
  const watching = watchMigration(client, workflowId, {
    onSnapshot: (snapshot) => {
      view.show(snapshot);
      operator.look(snapshot.status);
    },
    extra: () => (screen ? [...traffic.lines(), worker.line()] : [traffic.summary()]),
    title: `demo: ${SOURCE_KINDS[options.source].name} → PostgreSQL`,
    ...(uiUrl === undefined ? {} : { uiUrl: workflowUrl(uiUrl, namespace, workflowId) }),
    signal,
  }).finally(() => view.end());
  const aborting = options.rollback ? abortAfterCutover(parts, handle) : undefined;
  const ending = await (aborting === undefined ? watching : Promise.race([watching, aborting]));
  if (ending?.report !== undefined) return { report: ending.report, holds: operator.holds };
  throw new Error(
    `the workflow ended without a report: ${ending?.message ?? 'it was not watched to its end'}`,
  );
}

/** Lets the application write on PostgreSQL for the time of the soak, then aborts. Rejects, but never resolves. */
async function abortAfterCutover(
  { client, workflowId, options, traffic, signal }: MigrationParts,
  handle: WorkflowHandle,
): Promise<never> {
  await traffic.until(({ acknowledged }) => acknowledged.target > 0);
  const since = performance.now();
  await traffic.until(
    ({ acknowledged }) =>
      acknowledged.target >= WRITES_ON_TARGET && performance.now() - since >= options.soakMs,
  );
  // The application may be ahead of the workflow, for which a cutover under way can still return.
  while (!signal.aborted && (await askStatus(client, workflowId))?.phase !== 'soak') {
    await traffic.nextFigures();
  }
  if (!signal.aborted) await handle.signal(abortSignal, 'npm run demo -- --rollback');
  return new Promise<never>(() => undefined);
}
