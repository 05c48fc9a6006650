/** A client for whichever Temporal server the operator means. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { directories } from '../embedded/directories.ts';
import { runningTemporal } from '../embedded/temporal.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import { temporalEnvironment } from '../temporal-environment.ts';

export interface TemporalClient {
  client: Client;
  address: string;
  namespace: string;
  uiUrl: string | undefined;
  close(): Promise<void>;
}

const DEFAULT_ADDRESS = '127.0.0.1:7233';
const CONNECT_MS = 5_000;

/** Directory in which `crossfade run` keeps what belongs to one pair of databases. */
export function runDirectory(env: NodeJS.ProcessEnv, hash: string): string {
  return join(directories(env).data, 'runs', hash);
}

export function stateFileIn(directory: string): string {
  return join(directory, 'temporal.db');
}

/**
 * Connects to TEMPORAL_ADDRESS, or else to the dev server of a `crossfade run` on this machine, or else to
 * 127.0.0.1:7233.
 * @param workflowId tells which run is meant where there are several
 * @throws CrossfadeError TemporalUnreachable, InvalidInput where several runs are meant
 */
export async function connectTemporal(env: NodeJS.ProcessEnv, workflowId?: string): Promise<TemporalClient> {
  const named = temporalEnvironment(env);
  if (named.address !== undefined) return connect({ ...named, address: named.address });
  const local = await localServer(env, workflowId);
  if (local !== undefined) return connect({ ...local, security: {} });
  return connect({ ...named, address: DEFAULT_ADDRESS }, ' (TEMPORAL_ADDRESS names another)');
}

async function localServer(
  env: NodeJS.ProcessEnv,
  workflowId: string | undefined,
): Promise<{ address: string; namespace: string; uiUrl: string | undefined } | undefined> {
  const folder = join(directories(env).data, 'runs');
  const hashes = await readdir(folder).catch(() => []);
  const servers = await Promise.all(
    hashes.map(async (hash) => ({ hash, server: await runningTemporal(stateFileIn(join(folder, hash))) })),
  );
  const live = servers.filter(({ server }) => server !== undefined);
  const meant = workflowId === undefined ? live : live.filter(({ hash }) => workflowId.endsWith(hash));
  if (live.length > 1 && meant.length !== 1) {
    const ids = live.map(({ hash }) => runWorkflowId(hash)).join(', ');
    throw new CrossfadeError('InvalidInput', `several migrations run on this machine: name one of ${ids}`);
  }
  return (meant[0] ?? live[0])?.server;
}

/** Id of the workflow of `crossfade run`. */
export function runWorkflowId(hash: string): string {
  return `migrate-${hash}`;
}

export async function connect(
  to: {
    address: string;
    namespace: string;
    uiUrl: string | undefined;
    security: ReturnType<typeof temporalEnvironment>['security'];
  },
  hint = '',
): Promise<TemporalClient> {
  const { address, namespace, uiUrl, security } = to;
  let connection: Connection;
  try {
    connection = await Connection.connect({ address, ...security, connectTimeout: CONNECT_MS });
  } catch (error) {
    throw new CrossfadeError(
      'TemporalUnreachable',
      `the Temporal server at ${address}${hint} does not answer: ${messageOf(error)}`,
      error,
    );
  }
  const client = new Client({ connection, namespace });
  return { client, address, namespace, uiUrl, close: () => connection.close() };
}
