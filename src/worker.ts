/** Composition root: one worker for the workflows, one for the activities of this host. */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  bundleWorkflowCode,
  type WorkflowBundle,
  type WorkflowBundleOption,
} from '@temporalio/worker';
import { pino } from 'pino';
import { createActivities } from '../activities/index.ts';
import { resolveSource, resolveTarget } from './connections.ts';
import { TASK_QUEUE } from './contract.ts';
import { CrossfadeError, messageOf } from './errors.ts';
import { knownAttributes, registerAttributes } from './register-attributes.ts';
import { Sources, type SourceWatch } from './sources.ts';
import { temporalEnvironment } from './temporal-environment.ts';

export interface WorkerOptions {
  address: string;
  namespace: string;
  /** Where connections are resolved: SOURCE_URL, TARGET_URL, CROSSFADE_CONFIG … */
  env: NodeJS.ProcessEnv;
  /** Level of pino and of Temporal's own log, on standard error; default `warn`. */
  logLevel?: string;
  /** Where Prometheus finds the metrics of Temporal's SDK and ours, as "127.0.0.1:9464"; default nowhere. */
  metricsAddress?: string;
  taskQueue?: string;
  /** Distinguishes workers of one host that have different files; tests use it. */
  identity?: string;
  bundle?: WorkflowBundleOption;
}

export interface RunningWorkers {
  /** What these workers have to do without, one line each, for the operator. */
  notices: string[];
  /** Lets activities stop at their checkpoints, then ends. */
  stop(): Promise<void>;
  /** Rejects if a worker fails; never resolves. */
  failed: Promise<never>;
}

/** Where the build leaves the bundle. */
export const BUNDLE_PATH = new URL('../workflow-bundle.js', import.meta.url).pathname;

/** The build's bundle, or one that is made now, where the sources run as they are. */
async function workflowBundle(): Promise<WorkflowBundleOption> {
  return existsSync(BUNDLE_PATH) ? { codePath: BUNDLE_PATH } : bundleWorkflows();
}

/** Bundles the workflows; the same bundle may serve several workers of a process. */
export function bundleWorkflows(): Promise<WorkflowBundle & { code: string }> {
  // The path of this module's own kind: TypeScript sources where they run as such, JavaScript in a build.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const path = new URL(`../workflows/index.${extension}`, import.meta.url);
  return bundleWorkflowCode({ workflowsPath: path.pathname, logger: quietLogger });
}

const quietLogger = new DefaultLogger('ERROR', () => undefined);

/**
 * Sends Temporal's log through pino. The SDK admits one runtime per process: the first caller's settings hold.
 * @throws CrossfadeError BadConnection where metrics cannot be served at their address
 */
function installRuntime(level: string, metricsAddress: string | undefined): void {
  if (Runtime._instance !== undefined) return;
  const logger = pino({ name: 'crossfade', level }, pino.destination(2));
  const levels = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;
  const telemetryOptions = {
    logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} },
    ...(metricsAddress === undefined
      ? {}
      : { metrics: { prometheus: { bindAddress: metricsAddress, countersTotalSuffix: true } } }),
  } as const;
  try {
    Runtime.install({
      logger: new DefaultLogger('INFO', ({ level: severity, message, meta }) => {
        logger[levels[severity]](meta ?? {}, message);
      }),
      telemetryOptions,
    });
  } catch (error) {
    if (metricsAddress === undefined) throw error;
    throw new CrossfadeError(
      'BadConnection',
      `metrics cannot be served at ${metricsAddress}: ${messageOf(error)}: give --metrics an address that is free`,
      error,
    );
  }
}

function watchSources(): SourceWatch {
  const { logger, metricMeter } = Runtime.instance();
  const requests = metricMeter.createCounter('crossfade_d1_requests', '', 'Requests sent to Cloudflare');
  const repeats = metricMeter.createCounter(
    'crossfade_d1_repeated_requests',
    '',
    'Those of them that repeat one after 429, 5xx, a stall or a lost connection',
  );
  return {
    onUnreachable: (error) => logger.warn(`a source does not answer: ${messageOf(error)}`),
    onRequest: (repeated) => {
      requests.add(1);
      if (repeated) repeats.add(1);
    },
  };
}

/** Starts the workers of this process. @throws CrossfadeError BadConnection where Temporal does not answer, or metrics cannot be served */
export async function createWorkers(options: WorkerOptions): Promise<RunningWorkers> {
  const { address, namespace, env } = options;
  installRuntime(options.logLevel ?? 'warn', options.metricsAddress);
  let connection: NativeConnection;
  try {
    connection = await NativeConnection.connect({ address, ...temporalEnvironment(env).security });
  } catch (error) {
    throw new CrossfadeError(
      'BadConnection',
      `Temporal at ${address} does not answer: ${messageOf(error)}`,
      error,
    );
  }
  const taskQueue = options.taskQueue ?? TASK_QUEUE;
  const hostQueue = `${taskQueue}@${options.identity ?? hostname()}`;
  const sources = new Sources(env, watchSources());
  const activities = createActivities({
    endpoints: async (source, target) => {
      const from = resolveSource(source, env);
      const { url } = resolveTarget(target, env);
      const { path, release } = await sources.use(from);
      return { endpoints: { sourcePath: path, targetUrl: url }, release };
    },
    proveBoth: async (source, target) => {
      const from = resolveSource(source, env);
      resolveTarget(target, env);
      await sources.prove(from);
    },
    hostQueue,
    knownAttributes: () => knownAttributes(connection, namespace),
  });
  const notices = await registerAttributes(connection, namespace);
  const shared = {
    connection,
    namespace,
    activities,
    shutdownGraceTime: '1s',
    maxHeartbeatThrottleInterval: '2s',
  } as const;
  const workers = [
    await Worker.create({
      ...shared,
      taskQueue,
      workflowBundle: options.bundle ?? (await workflowBundle()),
    }),
    await Worker.create({ ...shared, taskQueue: hostQueue }),
  ];
  const runs = workers.map((worker) => worker.run());
  const failed = new Promise<never>((_, reject) => {
    for (const running of runs) running.catch(reject);
  });
  // Observed by whoever races it; without an observer a failure shows in stop().
  failed.catch(() => undefined);
  return {
    notices,
    failed,
    stop: async () => {
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await Promise.all(runs);
      await sources.close();
      await connection.close();
    },
  };
}
