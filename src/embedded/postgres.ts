/** A PostgreSQL server for this machine: TARGET_URL, or an embedded one that lives as long as this process. */
import { randomBytes } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { CrossfadeError, messageOf } from '../errors.ts';
import { freePorts } from './free-ports.ts';
import {
  initialise,
  preparePlace,
  readRecord,
  SUPERUSER,
  writeRecord,
  type Place,
  type ServerRecord,
} from './postgres-place.ts';
import { endProcess, gone, processRuns } from './processes.ts';
import { never, supervise, systemEnvironment, type Supervised } from './supervise.ts';

const DATABASE = 'crossfade';
const START_MS = 60_000;
/** A fast shutdown writes a checkpoint first. */
const GRACE_MS = 15_000;

export interface PostgresOptions {
  env?: NodeJS.ProcessEnv;
  /** Directory for the server; the data in it is used again by the next start, with the same password. */
  dataDir: string;
  /** Remove the data with `stop`. */
  temporary?: boolean;
  onLine(line: string): void;
}

export interface PostgresServer {
  /** postgres://user:password@host:port/database: never to be shown. */
  url: string;
  /** True where `stop` ends the server. */
  owned: boolean;
  /** Process id of the server, where it is ours. */
  pid?: number;
  /** Rejects where a server of ours ends without having been asked to. */
  failed: Promise<never>;
  stop(): Promise<void>;
}

/**
 * Starts a PostgreSQL server on 127.0.0.1 with a random password and an empty database `crossfade`, and waits until
 * it answers. TARGET_URL is used as it is.
 * @throws CrossfadeError ToolMissing
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const env = options.env ?? process.env;
  const named = env['TARGET_URL'];
  if (named !== undefined && named !== '')
    return { url: named, owned: false, failed: never(), stop: async () => undefined };

  const place = await preparePlace(options.dataDir, options.onLine);
  const before = await readRecord(place);
  const running = await joinOrEnd(place, before);
  if (running !== undefined) return running;

  const record: ServerRecord = {
    ...before,
    password: before?.password ?? randomBytes(18).toString('base64url'),
  };
  await writeRecord(place, record);
  if ((await stat(place.cluster).catch(() => undefined)) === undefined) {
    options.onLine('creating a PostgreSQL database cluster …');
    await initialise(place, record.password, env);
  }
  return launch(place, record, options, env);
}

/** A live run's server is joined; one whose run is dead is ended, by its supervisor or else by us. */
async function joinOrEnd(
  place: Place,
  record: ServerRecord | undefined,
): Promise<PostgresServer | undefined> {
  if (record?.pid === undefined || record.port === undefined || record.owner === undefined) return undefined;
  if (!(await processRuns(record.pid, place.cluster))) return undefined;
  if (await processRuns(record.owner)) {
    return {
      url: urlOf(record.password, record.port),
      owned: false,
      failed: never(),
      stop: async () => undefined,
    };
  }
  if (!(await gone(record.pid, place.cluster, GRACE_MS))) {
    await endProcess(record.pid, place.cluster, 'SIGINT', GRACE_MS);
  }
  return undefined;
}

async function launch(
  place: Place,
  record: ServerRecord,
  options: PostgresOptions,
  env: NodeJS.ProcessEnv,
): Promise<PostgresServer> {
  // The same port as before, where it is free: a URL that someone holds stays good.
  const [port] = (await freePorts(record.port)) as [number];
  const server = await supervise({
    name: 'PostgreSQL',
    command: join(place.programs, 'bin', 'postgres'),
    args: [
      ...['-D', place.cluster, '-p', String(port)],
      // TCP on the loopback address only: a socket's path has a length limit, which deep directories exceed.
      ...['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    ],
    cwd: place.folder,
    env: systemEnvironment(env),
    ...place.user,
    // SIGTERM would wait for every client to leave.
    stopSignal: 'SIGINT',
    graceMs: GRACE_MS,
  });
  try {
    await writeRecord(place, { ...record, port, pid: server.pid, owner: process.pid });
    await ready(server, urlOf(record.password, port, 'postgres'));
    await createDatabase(urlOf(record.password, port, 'postgres'));
  } catch (error) {
    await server.stop();
    throw new CrossfadeError(
      'ToolMissing',
      `the embedded PostgreSQL did not start: ${fatalLine(server.tail) ?? messageOf(error)}. Set TARGET_URL to use another server`,
      error,
    );
  }
  return {
    url: urlOf(record.password, port),
    owned: true,
    pid: server.pid,
    failed: server.failed,
    async stop() {
      await server.stop();
      if (options.temporary === true) await rm(place.folder, { recursive: true, force: true });
    },
  };
}

/** After the line that says why, a server only takes its leave; callers whom it turns away get a line of that kind too. */
function fatalLine(tail: readonly string[]): string | undefined {
  return tail.findLast((line) => /\b(?:FATAL|PANIC): +(?!the database system is)/.test(line)) ?? tail.at(-1);
}

async function ready(server: Supervised, url: string): Promise<void> {
  let ended = false;
  void server.exited.then(() => (ended = true));
  const until = performance.now() + START_MS;
  for (;;) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
    try {
      await client.connect();
      return;
    } catch (error) {
      if (ended || performance.now() > until) throw error;
      await sleep(50);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}

async function createDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await client.end();
  }
}

function urlOf(password: string, port: number, database = DATABASE): string {
  return `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`;
}
