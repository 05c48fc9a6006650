/** The demo from beginning to end: starts everything, watches the migration, checks what it left, undoes everything. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import type { Terminal } from '../src/cli/view/live.ts';
import { workflowUrl } from '../src/cli/view/snapshot.ts';
import { startPostgres } from '../src/embedded/postgres.ts';
import { startTemporal, type TemporalServer } from '../src/embedded/temporal.ts';
import { temporalEnvironment } from '../src/temporal-environment.ts';
import type { DemoOptions } from './arguments.ts';
import { checkDatabase, type CheckResult } from './checker/check.ts';
import { Cleanup } from './cleanup.ts';
import { generateDatabase, type Generated } from './database/generate.ts';
import { runMigration } from './migration.ts';
import { makeReport, type DemoReport } from './report.ts';
import { SOURCE_KINDS } from './sources/kinds.ts';
import { createDemoDatabase } from './target-database.ts';
import { Traffic } from './traffic.ts';
import { WorkerKeeper } from './worker-keeper.ts';

/** Traffic after the migration has ended, to see that the application goes on. */
const AFTERWARDS_MS = 1_500;

/** Time for the processes to end by themselves, where the result counts and where the demo was stopped. */
const FINISH_MS = 30_000;
const STOP_MS = 2_000;

interface Stage {
  options: DemoOptions;
  /** Undoes what was done so far; steps may be added while it waits. */
  cleanup: Cleanup;
  directory: string;
  terminal: Terminal;
  signal: AbortSignal;
  onLine(line: string): void;
}

/**
 * Runs the demo. Whatever was started is stopped and removed when it resolves or rejects.
 * @param signal stops everything
 */
export async function runDemo(
  options: DemoOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<DemoReport> {
  const onLine = (line: string): void => void terminal.write(`${line}\n`);
  const cleanup = new Cleanup();
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  // Nobody may be waiting at the moment when it rejects.
  stopped.catch(() => undefined);
  try {
    const directory = mkdtempSync(join(tmpdir(), 'crossfade-demo-'));
    // PostgreSQL does not run as root: its own user has to get to its directory below this one.
    if (process.getuid?.() === 0) chmodSync(directory, 0o711);
    if (!options.keep) {
      cleanup.add('remove the files', () => rmSync(directory, { recursive: true, force: true }));
    }
    return await conduct({ options, cleanup, directory, terminal, signal, onLine }, stopped);
  } finally {
    // The live screen ends first, within this turn.
    await new Promise((resolve) => setImmediate(resolve));
    if (signal.aborted) onLine('stopping …');
    await cleanup.run().catch((error: unknown) => onLine(String(error)));
  }
}

async function conduct(stage: Stage, stopped: Promise<never>): Promise<DemoReport> {
  const { options, cleanup, directory, onLine } = stage;
  const kind = SOURCE_KINDS[options.source];
  const baseline = join(directory, 'baseline.sqlite');
  const journal = join(directory, 'journal.jsonl');

  const preparing = Promise.all([startServers(stage), generate(stage, baseline)]);
  const [{ temporal, target, failed: serversFailed }, generated] = await Promise.race([preparing, stopped]);
  const opening = kind.open({ directory, baseline, target, cleanup });
  const source = await Promise.race([opening, stopped, serversFailed]);

  const env = { ...process.env, ...source.env, TARGET_URL: target };
  const traffic = new Traffic({
    module: source.application,
    source: kind.name,
    journal,
    logFile: join(directory, 'application.log'),
    env,
    operationsPerSecond: options.ops,
    seed: options.seed,
  });
  cleanup.add('stop the application', () => traffic.stop(STOP_MS));
  const worker = new WorkerKeeper({
    address: temporal.address,
    namespace: temporal.namespace,
    env,
    logFile: join(directory, 'worker.log'),
  });
  cleanup.add('stop the worker', () => worker.stop(STOP_MS));
  const interrupted = Promise.race([stopped, serversFailed, source.failed, traffic.failed, worker.failed]);
  interrupted.catch(() => undefined);

  await Promise.race([Promise.all([traffic.started(), worker.started()]), interrupted]);
  onLine(`application  pid ${traffic.pid}, ${options.ops} operations/s on ${source.where}`);

  const client = await connect(stage, temporal);
  const workflowId = `crossfade-demo-${randomBytes(3).toString('hex')}`;
  if (!temporal.owned) {
    cleanup.add('end the workflow', () => terminate(client, workflowId));
  }
  const before = traffic.figures;
  const { terminal, signal } = stage;
  const migration = await Promise.race([
    runMigration({ client, temporal, workflowId, options, traffic, worker, terminal, signal }),
    interrupted,
  ]);
  const after = traffic.figures;
  await Promise.race([sleep(AFTERWARDS_MS), interrupted]);
  const last = await traffic.finish(FINISH_MS);
  await worker.stop(FINISH_MS);

  const onTarget = last.primary === 'target';
  onLine(`checking the journal against ${onTarget ? 'PostgreSQL' : kind.name}, row by row …`);
  const inSource = { sqlite: source.file, name: kind.name };
  const database = onTarget ? { postgres: target } : inSource;
  const check = await Promise.race([checkDatabase({ baseline, journal, database }), stopped]);
  let sourceCheck: CheckResult | undefined;
  if (onTarget) {
    onLine(`checking ${kind.name} against the same, except what PostgreSQL has changed since …`);
    const checking = checkDatabase({
      baseline,
      journal,
      database: inSource,
      exceptTargetsWrites: true,
    });
    sourceCheck = await Promise.race([checking, stopped]);
  }
  const { uiUrl, namespace } = temporal;
  const url = uiUrl === undefined ? undefined : workflowUrl(uiUrl, namespace, workflowId);
  return makeReport({
    options,
    workflow: { id: workflowId, ...(url === undefined ? {} : { url }) },
    migration: migration.report,
    holds: migration.holds,
    generatedRows: generated.rows,
    figures: { before, after, last },
    check,
    ...(sourceCheck === undefined ? {} : { sourceCheck }),
    workerRestarts: worker.restarts,
    ...(options.keep ? { directory } : {}),
  });
}

interface Servers {
  temporal: TemporalServer;
  /** URL of an empty database. */
  target: string;
  failed: Promise<never>;
}

async function startServers({ options, directory, cleanup, signal, onLine }: Stage): Promise<Servers> {
  // Registered before they run: one that is still starting when the demo is stopped has to be stopped too.
  const startingPostgres = startPostgres({
    dataDir: join(directory, 'postgres'),
    temporary: !options.keep,
    onLine,
  });
  cleanup.add('stop PostgreSQL', () => startingPostgres.then((server) => server.stop(), ignoreStartFailure));
  const startingTemporal = startTemporal({ onLine });
  cleanup.add('stop Temporal', () =>
    // It may be compiling for minutes. What it starts after this process has ended stops by itself.
    Promise.race([
      startingTemporal.then((server) => server.stop(), ignoreStartFailure),
      sleep(10_000, undefined, { ref: false }),
    ]),
  );
  const [postgres, temporal] = await Promise.all([startingPostgres, startingTemporal]);
  let target = postgres.url;
  if (!postgres.owned && !signal.aborted) {
    const creating = createDemoDatabase(postgres.url);
    cleanup.add("drop the demo's database", () =>
      creating.then((database) => database.drop(), ignoreStartFailure),
    );
    target = (await creating).url;
  }
  const failed = Promise.race([postgres.failed, temporal.failed]);
  failed.catch(() => undefined);
  return { temporal, target, failed };
}

/** A server that did not start has nothing to stop; why it did not is reported by who waits for it. */
function ignoreStartFailure(): void {}

async function generate({ options, onLine }: Stage, path: string): Promise<Generated> {
  const start = performance.now();
  onLine(`generating ${options.users * 10} rows (seed ${options.seed}) …`);
  const generated = await generateDatabase({ path, users: options.users, seed: options.seed });
  onLine(`generated ${generated.total} rows in ${((performance.now() - start) / 1_000).toFixed(1)} s`);
  return generated;
}

async function connect({ cleanup }: Stage, temporal: TemporalServer): Promise<Client> {
  const connection = await Connection.connect({
    address: temporal.address,
    ...temporalEnvironment(process.env).security,
  });
  cleanup.add('close the connection to Temporal', () => connection.close());
  return new Client({ connection, namespace: temporal.namespace });
}

/** On a server that stays, a workflow without its databases would wait for ever. */
async function terminate(client: Client, workflowId: string): Promise<void> {
  try {
    await client.workflow.getHandle(workflowId).terminate('the demo has ended');
  } catch (error) {
    // Not found: it was never started, or it has ended by itself.
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
}
