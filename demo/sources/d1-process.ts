/**
 * Keeps a D1 database and the application's Workers in workerd until it is told to stop, or its parent is gone.
 * Arguments: --folder DIRECTORY --rows FILE --target URL
 */
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundleWorker } from '../../cloudflare/bundle-worker.ts';
import { startD1 } from '../../cloudflare/server.ts';
import { onParentGone } from '../../src/parent.js';
import type { FromConductor, FromD1 } from '../messages.ts';
import { batchesOf } from './load-d1.ts';

/** Isolates that share the databases and nothing else. */
const WORKERS = ['one', 'other'];

const { values } = parseArgs({
  options: { folder: { type: 'string' }, rows: { type: 'string' }, target: { type: 'string' } },
});

// miniflare ends workerd with this process, whatever ends it but SIGKILL.
onParentGone(() => process.exit(0));
process.on('message', (message: FromConductor) => {
  if (message.type === 'stop') process.exit(0);
});

const worker = fileURLToPath(
  new URL(`../application/worker${extname(import.meta.filename)}`, import.meta.url),
);
const { code } = await bundleWorker({ file: worker });
const server = await startD1(
  WORKERS.map((name) => ({ name, script: code, bindings: { TARGET: values.target ?? '' } })),
  values.folder,
);

for (const batch of batchesOf(values.rows ?? '')) await server.exec(...batch);
const ready: FromD1 = {
  type: 'ready',
  url: server.url,
  env: server.env,
  file: server.file,
  workers: await Promise.all(WORKERS.map((name) => server.application(name))),
};
process.send?.(ready);
