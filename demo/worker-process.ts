/**
 * crossfade's worker as a process of its own, as it would be in production; anyone may kill it.
 * Arguments: --address HOST:PORT --namespace NAME. SOURCE_URL and TARGET_URL name the databases.
 */
import { parseArgs } from 'node:util';
import { onParentGone } from '../src/parent.js';
import { createWorkers } from '../src/worker.ts';
import type { FromConductor, FromWorker } from './messages.ts';

const ORPHANED_MS = 3_000;

const { values } = parseArgs({ options: { address: { type: 'string' }, namespace: { type: 'string' } } });

const workers = await createWorkers({
  address: values.address ?? '127.0.0.1:7233',
  namespace: values.namespace ?? 'default',
  env: process.env,
  logLevel: 'warn',
});

let stopping: Promise<void> | undefined;
function stop(): void {
  stopping ??= workers.stop().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}

process.on('message', (message: FromConductor) => {
  if (message.type === 'stop') stop();
});
onParentGone(() => {
  stop();
  // Temporal ends with the parent as well, and a worker without its server does not come to its end.
  setTimeout(() => process.exit(1), ORPHANED_MS);
});
process.on('SIGTERM', stop);
workers.failed.catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});

const ready: FromWorker = { type: 'ready' };
process.send?.(ready);
