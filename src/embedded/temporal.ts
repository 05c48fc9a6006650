/** A Temporal server: the one that the environment names, or a dev server of our own on this machine. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { CrossfadeError, messageOf } from '../errors.ts';
import { SEARCH_ATTRIBUTES } from '../search-attributes.ts';
import { temporalEnvironment, type TemporalEnvironment } from '../temporal-environment.ts';
import { privateDirectory } from './directories.ts';
import { freePorts } from './free-ports.ts';
import { endProcess, gone, processRuns } from './processes.ts';
import { never, supervise, systemEnvironment, type Supervised } from './supervise.ts';
import { temporalProgram } from './temporal-program.ts';

const NAMESPACE = 'default';
const START_MS = 60_000;
const GRACE_MS = 5_000;

export interface TemporalOptions {
  env?: NodeJS.ProcessEnv;
  /** SQLite file of the dev server's state, so that workflows survive it; without one they are forgotten. */
  stateFile?: string;
  /** What happens and how long it takes, for the operator. */
  onLine(line: string): void;
  uiPort?: number;
}

export interface TemporalServer {
  /** host:port */
  address: string;
  namespace: string;
  /** Undefined where the server is not ours and TEMPORAL_UI_URL does not name it. */
  uiUrl: string | undefined;
  /** True where `stop` ends the server. */
  owned: boolean;
  /** Process id of the server, where it is ours. */
  pid?: number;
  /** Process that owns the server, where that is another run of crossfade on the same state file. */
  owner?: number;
  /** Rejects where a server of ours ends without having been asked to. */
  failed: Promise<never>;
  stop(): Promise<void>;
}

/** Left beside the state file: which server uses it. */
interface ServerRecord {
  pid: number;
  owner: number;
  port: number;
  uiPort: number;
}

/**
 * Finds or starts a Temporal server and waits until it answers.
 * @throws CrossfadeError TemporalUnreachable, ToolMissing
 */
export async function startTemporal(options: TemporalOptions): Promise<TemporalServer> {
  const env = options.env ?? process.env;
  const named = temporalEnvironment(env);
  if (named.address !== undefined) return useNamed(named, named.address);

  const { stateFile } = options;
  const before = stateFile === undefined ? undefined : await readRecord(stateFile);
  if (stateFile !== undefined && before !== undefined) {
    const running = await joinOrEnd(stateFile, before);
    if (running !== undefined) return running;
  }
  return startOwn(options, env, before);
}

/** The dev server that a live run of crossfade keeps on this state file; undefined where there is none. */
export async function runningTemporal(stateFile: string): Promise<TemporalServer | undefined> {
  const record = await readRecord(stateFile);
  if (record === undefined || !(await processRuns(record.pid, stateFile))) return undefined;
  return (await processRuns(record.owner)) ? joined(record) : undefined;
}

async function useNamed(named: TemporalEnvironment, address: string): Promise<TemporalServer> {
  const failure = await probe(address, named.namespace, named.security, 5_000);
  if (failure !== undefined) {
    throw new CrossfadeError(
      'TemporalUnreachable',
      `the Temporal server that TEMPORAL_ADDRESS names (${address}, namespace "${named.namespace}") does not answer: ` +
        `${messageOf(failure)}. Start it, correct the address, or unset it to use a server of crossfade's own`,
      failure,
    );
  }
  return {
    address,
    namespace: named.namespace,
    uiUrl: named.uiUrl,
    owned: false,
    failed: never(),
    stop: async () => undefined,
  };
}

/** Another run's server is joined; one whose run is dead is ended, by its supervisor or else by us. */
async function joinOrEnd(stateFile: string, record: ServerRecord): Promise<TemporalServer | undefined> {
  const running = await runningTemporal(stateFile);
  if (running !== undefined) return running;
  if (!(await gone(record.pid, stateFile, 2 * GRACE_MS))) {
    await endProcess(record.pid, stateFile, 'SIGTERM', GRACE_MS);
  }
  return undefined;
}

function joined(record: ServerRecord): TemporalServer {
  return {
    ...placeOf(record),
    owned: false,
    owner: record.owner,
    failed: never(),
    stop: async () => undefined,
  };
}

function placeOf(record: ServerRecord): Pick<TemporalServer, 'address' | 'namespace' | 'uiUrl'> {
  const { port, uiPort } = record;
  return { address: `127.0.0.1:${port}`, namespace: NAMESPACE, uiUrl: `http://127.0.0.1:${uiPort}` };
}

async function startOwn(
  options: TemporalOptions,
  env: NodeJS.ProcessEnv,
  before: ServerRecord | undefined,
): Promise<TemporalServer> {
  const program = await temporalProgram(env, options.onLine);
  const { stateFile } = options;
  if (stateFile !== undefined) await privateDirectory(dirname(stateFile));

  for (let attempt = 1; ; attempt++) {
    // The same ports as before, where they are free: an open browser page goes on.
    const [port, uiPort] = (await freePorts(before?.port, options.uiPort ?? before?.uiPort)) as [
      number,
      number,
    ];
    const server = await supervise({
      name: "Temporal's dev server",
      command: program,
      args: [
        ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--ui-port', String(uiPort)],
        ...['--log-level', 'error', '--color', 'never'],
        ...(stateFile === undefined ? [] : ['--db-filename', stateFile]),
        ...Object.entries(SEARCH_ATTRIBUTES).flatMap(([key, type]) => [
          '--search-attribute',
          `${key}=${type}`,
        ]),
      ],
      env: systemEnvironment(env),
      graceMs: GRACE_MS,
    });
    const failure = await ready(server, `127.0.0.1:${port}`);
    if (failure !== undefined) {
      await server.stop();
      const taken = server.tail.some((line) => line.includes('address already in use'));
      if (taken && attempt < 3) continue;
      throw new CrossfadeError(
        'ToolMissing',
        `Temporal's dev server (${program}) did not start: ${server.tail.at(-1) ?? messageOf(failure)}`,
        failure,
      );
    }
    const record = { pid: server.pid, owner: process.pid, port, uiPort };
    if (stateFile !== undefined) await writeRecord(stateFile, record);
    return {
      ...placeOf(record),
      owned: true,
      pid: server.pid,
      failed: server.failed,
      stop: () => server.stop(),
    };
  }
}

/** Waits until the server answers. @returns why it does not, where it ends or takes too long */
async function ready(server: Supervised, address: string): Promise<unknown> {
  let ended = false;
  void server.exited.then(() => (ended = true));
  const until = performance.now() + START_MS;
  let failure: unknown;
  while (!ended && performance.now() < until) {
    failure = await probe(address, NAMESPACE, {}, 1_000);
    if (failure === undefined) return undefined;
    await sleep(100);
  }
  return failure ?? new Error('it ended');
}

/** Asks for the namespace. @returns the failure, undefined where the server answers */
async function probe(
  address: string,
  namespace: string,
  security: TemporalEnvironment['security'],
  ms: number,
): Promise<unknown> {
  let connection: Connection | undefined;
  try {
    connection = await Connection.connect({ address, ...security, connectTimeout: ms });
    const { workflowService } = connection;
    await connection.withDeadline(Date.now() + ms, () => workflowService.describeNamespace({ namespace }));
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await connection?.close();
  }
}

function recordPath(stateFile: string): string {
  return `${stateFile}.server.json`;
}

async function readRecord(stateFile: string): Promise<ServerRecord | undefined> {
  try {
    return JSON.parse(await readFile(recordPath(stateFile), 'utf8')) as ServerRecord;
  } catch {
    // Missing on the first start, cut short by a crash: both mean that no server is known.
    return undefined;
  }
}

async function writeRecord(stateFile: string, record: ServerRecord): Promise<void> {
  const draft = `${recordPath(stateFile)}.${process.pid}`;
  await writeFile(draft, JSON.stringify(record), { mode: 0o600 });
  await rename(draft, recordPath(stateFile));
}
