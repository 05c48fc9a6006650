/** A D1 database in workerd behind the REST API that `rest-worker.js` imitates, and Workers that have its binding. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Miniflare } from 'miniflare';
import { BATCH_SCRIPT, OWN_ADDRESS, runBatch } from './batch-worker.ts';

export const ACCOUNT = '0123456789abcdef0123456789abcdef';
export const DATABASE = '11111111-2222-4333-8444-555555555555';
const TOKEN = 'a-token';
/** Of the same user, with the permission "D1 Read" alone. */
export const READ_TOKEN = 'a-token-to-read';

export interface D1Server {
  /** `d1://…` of the database. */
  url: string;
  /** Environment that reaches it. */
  env: NodeJS.ProcessEnv;
  /** Runs statements as an application would, one after the other. */
  exec(...statements: string[]): Promise<void>;
  /** The SQLite file in which workerd keeps the database. */
  file: string;
  /** `http://…` of an application's Worker. */
  application(name: string): Promise<string>;
  stop(): Promise<void>;
}

/** An application's Worker; `DB` is its binding of the database. */
export interface ApplicationWorker {
  name: string;
  /** One ES module, as `bundleWorker` makes it. */
  script: string;
  bindings?: Record<string, string>;
}

/** @param kept where the database is and stays after stop(); default: a folder that goes with it */
export async function startD1(applications: ApplicationWorker[] = [], kept?: string): Promise<D1Server> {
  const folder = kept ?? mkdtempSync(join(tmpdir(), 'crossfade-d1-server-'));
  const common = { modules: true, compatibilityDate: '2026-04-01', d1Databases: { DB: DATABASE } } as const;
  const server = new Miniflare({
    host: '127.0.0.1',
    port: 0,
    d1Persist: folder,
    workers: [
      {
        ...common,
        name: 'rest',
        script: readFileSync(join(import.meta.dirname, 'rest-worker.js'), 'utf8'),
        bindings: { TOKEN, READ_TOKEN, ACCOUNT, DATABASE, NAME: 'shop' },
      },
      { ...common, ...OWN_ADDRESS, name: 'batch', script: BATCH_SCRIPT },
      ...applications.map((application) => ({
        ...common,
        ...OWN_ADDRESS,
        ...application,
        compatibilityFlags: ['nodejs_compat'],
      })),
    ],
  });
  const origin = (await server.ready).origin;
  const batch = await server.unsafeGetDirectURL('batch');
  const exec = async (...statements: string[]): Promise<void> => {
    await runBatch(
      batch,
      statements.map((sql) => ({ sql, params: [] })),
    );
  };
  // A database has no file before its first use.
  await exec('SELECT 1');
  return {
    file: fileIn(join(folder, 'miniflare-D1DatabaseObject')),
    url: `d1://${ACCOUNT}/${DATABASE}`,
    env: { CLOUDFLARE_API_TOKEN: TOKEN, CLOUDFLARE_API_BASE_URL: `${origin}/client/v4` },
    exec,
    application: async (name) => (await server.unsafeGetDirectURL(name)).origin,
    stop: async () => {
      await server.dispose();
      if (kept === undefined) rmSync(folder, { recursive: true });
    },
  };
}

function fileIn(folder: string): string {
  const [name] = readdirSync(folder).filter((one) => /^[0-9a-f]{64}\.sqlite$/.test(one));
  return join(folder, name!);
}
