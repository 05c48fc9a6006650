/**
 * Exit status 0 where Temporal has lately heard from a worker of this host on the host's own queue, else 1 with one
 * line that says why. For the health check of a container whose task queue is the default.
 */
import { hostname } from 'node:os';
import { Connection } from '@temporalio/client';
import { TASK_QUEUE } from '../dist/src/contract.js';
import { temporalEnvironment } from '../dist/src/temporal-environment.js';

/** A poll lasts a minute at most; a worker that is alive is never silent for longer than that and its retry. */
const SILENCE_MS = 120_000;

const { address, namespace, security } = temporalEnvironment(process.env);
try {
  const connection = await Connection.connect({ address, ...security, connectTimeout: 5_000 });
  const { pollers } = await connection.workflowService.describeTaskQueue({
    namespace,
    taskQueue: { name: `${TASK_QUEUE}@${hostname()}` },
    // TASK_QUEUE_TYPE_ACTIVITY
    taskQueueType: 2,
  });
  await connection.close();
  const seen = pollers
    .filter(({ identity }) => identity?.endsWith(`@${hostname()}`))
    .map(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1_000);
  if (!seen.some((at) => Date.now() - at < SILENCE_MS)) throw new Error('no worker of this host polls');
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
