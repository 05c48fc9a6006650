/** Everything in one process: Temporal, where none is named, a worker, and a client. */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { basename } from 'node:path';
import type { Client } from '@temporalio/client';
import { connectTarget, describeTarget } from '../databases/postgres/connection.ts';
import type { SourceConnection } from '../connections.ts';
import { d1Url } from '../databases/d1/address.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { startTemporal } from '../embedded/temporal.ts';
import { messageOf } from '../errors.ts';
import { Sources } from '../sources.ts';
import { temporalEnvironment } from '../temporal-environment.ts';
import { createWorkers } from '../worker.ts';
import { closing } from './closing.ts';
import { INTERRUPTED } from './interrupted.ts';
import type { Io } from './io.ts';
import type { Databases } from './options.ts';
import { connect, runDirectory, stateFileIn } from './temporal.ts';
import { TrafficReader } from './traffic-reader.ts';
import { workflowUrl } from './view/snapshot.ts';
import type { WatchOptions } from './view/watch.ts';

export interface OneMachine {
  client: Client;
  /** Names what belongs to this pair of databases. */
  hash: string;
  /** Aborts on Ctrl-C. */
  signal: AbortSignal;
  /** What to pass to `watchMigration` for a workflow. */
  watching(workflowId: string): Pick<WatchOptions, 'title' | 'uiUrl' | 'signal' | 'traffic'>;
  /** Rejects where the server or the worker fails. */
  failed: Promise<never>;
}

/**
 * Checks both databases, starts what is needed, does `work`, and stops everything again. On Ctrl-C `work` is left
 * alone, with its signal aborted; where nothing has been started yet, it is not begun.
 * @param resumeHint what to say after Ctrl-C
 * @returns the exit status
 */
export async function onOneMachine(
  io: Io,
  databases: Databases,
  resumeHint: string,
  work: (machine: OneMachine) => Promise<number>,
): Promise<number> {
  await reachBoth(databases);
  const say = (line: string): unknown => io.stderr.write(`crossfade: ${line}\n`);
  return closing(
    (error) => say(`while stopping: ${messageOf(error)}`),
    async (later) => {
      const interrupt = new AbortController();
      const forget = io.onInterrupt(() => interrupt.abort());
      later(async () => forget());

      const hash = hashOf(databases);
      const stateFile = stateFileIn(runDirectory(io.env, hash));
      const starting = startTemporal({ env: io.env, stateFile, onLine: say });
      later(async () => (await starting.catch(() => undefined))?.stop());
      const server = await Promise.race([starting, aborted(interrupt.signal)]);
      if (server === undefined) return INTERRUPTED;

      const { address, namespace, uiUrl } = server;
      const named = temporalEnvironment(io.env);
      // What the shell says of some server's TLS does not hold for a dev server.
      const local = named.address === undefined;
      const temporal = await connect({ address, namespace, uiUrl, security: local ? {} : named.security });
      later(() => temporal.close());

      const failures = [server.failed];
      // Another run's server comes with that run's worker.
      if (server.owner === undefined) {
        const env = local ? withoutTemporal(databases.env) : databases.env;
        const workers = await createWorkers({ address, namespace, env, logLevel: 'error' });
        later(() => workers.stop());
        for (const notice of workers.notices) say(notice);
        failures.push(workers.failed);
      } else {
        say(`process ${server.owner} is at it already: watching`);
      }

      const failed = Promise.race(failures);
      // `work` may not be listening yet when it happens.
      failed.catch(() => undefined);
      const traffic = new TrafficReader(databases.targetUrl);
      later(() => traffic.close());
      const status = await work({
        client: temporal.client,
        hash,
        signal: interrupt.signal,
        failed,
        watching: (workflowId) => ({
          title: `${titleOf(databases.source)} → ${describeTarget(databases.targetUrl)}`,
          signal: interrupt.signal,
          traffic: () => traffic.read(),
          ...(uiUrl === undefined ? {} : { uiUrl: workflowUrl(uiUrl, namespace, workflowId) }),
        }),
      });
      if (status === INTERRUPTED) say(`stopping: ${resumeHint}`);
      return status;
    },
  );
}

/** @throws CrossfadeError SourceMissing, TargetUnreachable … before anything is started */
async function reachBoth({ source, targetUrl, env }: Databases): Promise<void> {
  if (source.kind === 'sqlite') openSource(source.path, 'read').close();
  else await new Sources(env).prove(source);
  const target = await connectTarget(targetUrl, { applicationName: 'crossfade' });
  await target.end();
}

function withoutTemporal(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('TEMPORAL_')));
}

/** The same for every way to write the same two databases. */
function hashOf({ source, targetUrl }: Databases): string {
  const name = source.kind === 'sqlite' ? realpathSync(source.path) : d1Url(source.d1.address);
  const pair = `${name}\n${describeTarget(targetUrl)}`;
  return createHash('sha256').update(pair).digest('hex').slice(0, 12);
}

function titleOf(source: SourceConnection): string {
  return source.kind === 'sqlite' ? basename(source.path) : `D1 ${source.d1.address.database}`;
}

/** Resolves when the signal aborts. */
function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
