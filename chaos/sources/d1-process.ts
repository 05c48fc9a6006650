/**
 * Keeps a D1 database in workerd, and the applications' Workers, until it is asked to end or the parent is gone; then
 * its files alone are left. Arguments: --folder DIRECTORY --ballast ROWS --target URL. Sends one message when all is ready.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundleWorker } from '../../cloudflare/bundle-worker.ts';
import { startD1 } from '../../cloudflare/server.ts';
import { onParentGone } from '../../src/parent.js';
import { databaseSql } from '../application/database.ts';

export interface Ready {
  /** `d1://…` */
  url: string;
  /** Environment that reaches it. */
  env: NodeJS.ProcessEnv;
  /** The SQLite file in which workerd keeps it. */
  file: string;
  /** Addresses of the Workers that write through the router: isolates that share the databases and nothing else. */
  routers: string[];
  /** Address of the one that does not. */
  foreign: string;
}

const ROUTERS = ['router-one', 'router-two'];

const { values } = parseArgs({
  options: { folder: { type: 'string' }, ballast: { type: 'string' }, target: { type: 'string' } },
});
// miniflare ends workerd with this process, whatever ends it but SIGKILL.
onParentGone(() => process.exit(0));

const [router, foreign] = await Promise.all(
  ['router', 'foreign'].map((name) =>
    bundleWorker({ file: fileURLToPath(new URL(`../application/${name}-worker.js`, import.meta.url)) }),
  ),
);
const bindings = { TARGET: values.target ?? '' };
const server = await startD1(
  [
    ...ROUTERS.map((name) => ({ name, script: router!.code, bindings })),
    { name: 'foreign', script: foreign!.code },
  ],
  values.folder,
);

await server.exec(...databaseSql(Number(values.ballast)));
const ready: Ready = {
  url: server.url,
  env: server.env,
  file: server.file,
  routers: await Promise.all(ROUTERS.map((name) => server.application(name))),
  foreign: await server.application('foreign'),
};
process.send?.(ready);
