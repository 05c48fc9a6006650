/** A D1 database in workerd behind the REST API that `rest-worker.js` imitates. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Miniflare } from 'miniflare';

export const ACCOUNT = '0123456789abcdef0123456789abcdef';
export const DATABASE = '11111111-2222-4333-8444-555555555555';
const TOKEN = 'a-token';

export interface D1Server {
  /** `d1://…` of the database. */
  url: string;
  /** Environment that reaches it. */
  env: NodeJS.ProcessEnv;
  /** Runs statements as an application would, one after the other. */
  exec(...statements: string[]): Promise<void>;
  /** The SQLite file in which workerd keeps the database. */
  file: string;
  stop(): Promise<void>;
}

export async function startD1(): Promise<D1Server> {
  const folder = mkdtempSync(join(tmpdir(), 'crossfade-d1-server-'));
  const worker = new Miniflare({
    modules: true,
    script: readFileSync(join(import.meta.dirname, 'rest-worker.js'), 'utf8'),
    host: '127.0.0.1',
    port: 0,
    compatibilityDate: '2026-04-01',
    bindings: { TOKEN, ACCOUNT, DATABASE, NAME: 'shop' },
    d1Databases: { DB: DATABASE },
    d1Persist: folder,
  });
  const origin = (await worker.ready).origin;
  const db = await worker.getD1Database('DB');
  await db.prepare('SELECT 1').run();
  return {
    file: fileIn(join(folder, 'miniflare-D1DatabaseObject')),
    url: `d1://${ACCOUNT}/${DATABASE}`,
    env: { CLOUDFLARE_API_TOKEN: TOKEN, CLOUDFLARE_API_BASE_URL: `${origin}/client/v4` },
    exec: async (...statements) => {
      await db.batch(statements.map((sql) => db.prepare(sql)));
    },
    stop: async () => {
      await worker.dispose();
      rmSync(folder, { recursive: true });
    },
  };
}

function fileIn(folder: string): string {
  const [name] = readdirSync(folder).filter((one) => /^[0-9a-f]{64}\.sqlite$/.test(one));
  return join(folder, name!);
}
