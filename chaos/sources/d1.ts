/** A D1 database in workerd, with Workers of the applications, behind a REST API that fails when it is told to. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { ACCOUNT, DATABASE } from '../../cloudflare/server.ts';
import { startFaultyProxy } from '../../cloudflare/faults.ts';
import { fetchOnce } from '../../cloudflare/fetch-once.ts';
import { Process } from '../process.ts';
import { FailingApi } from './d1-api.ts';
import type { Ready } from './d1-process.ts';
import type { SourceKind } from './source.ts';

const GRACE_MS = 10_000;

export const d1: SourceKind = {
  applications: ['workers', 'workers', 'd1-foreign'],
  // Every row is read three times and more, in pages through JSON.
  ballast: (random) => 1_000 + random.below(4_000),
  // The fence, the drain and the commit point are requests one after the other, and the worker's clock is not D1's.
  maxPauseMs: 15_000,

  async create({ folder, ballast, targetUrl, build }) {
    const server = new Process({
      module: new URL('chaos/sources/d1-process.js', build),
      args: ['--folder', join(folder, 'd1'), '--ballast', String(ballast), '--target', targetUrl],
      // Where miniflare leaves its own files, which go with the rest.
      env: { ...process.env, TMPDIR: folder },
      logFile: join(folder, 'd1.log'),
    });
    const { url, env, file, routers, foreign } = await server.message<Ready>();
    const baseline = join(folder, 'baseline.sqlite');
    copyOf(file, baseline);
    const direct = env['CLOUDFLARE_API_BASE_URL']!;
    const proxy = await startFaultyProxy(direct);
    const api = new FailingApi(proxy);
    return {
      file,
      baseline,
      workerEnv: {
        ...env,
        SOURCE_URL: url,
        CLOUDFLARE_API_BASE_URL: proxy.baseUrl,
        CROSSFADE_HOME: join(folder, 'home'),
      },
      applicationEnv: { CHAOS_ROUTERS: routers.join(' '), CHAOS_FOREIGN: foreign },
      write: (statements) => write(direct, env['CLOUDFLARE_API_TOKEN']!, statements),
      inject: async (fault) => {
        if (fault.kind === 'lock-source') return;
        if (fault.kind === 'd1-lost-binding') {
          for (const router of routers) await fetchOnce(`${router}/lose/${fault.count}`, { method: 'POST' });
          return;
        }
        api.arm(fault);
      },
      settled: () => proxy.idle(),
      stop: async () => {
        await proxy.stop();
        await server.stop(GRACE_MS);
      },
    };
  },
};

/** workerd writes to the file in WAL mode: only SQLite can copy it. */
function copyOf(file: string, copy: string): void {
  const db = new Database(file, { readonly: true });
  try {
    db.prepare('VACUUM INTO ?').run(copy);
  } finally {
    db.close();
  }
}

async function write(baseUrl: string, token: string, statements: string[]): Promise<void> {
  const response = await fetch(`${baseUrl}/accounts/${ACCOUNT}/d1/database/${DATABASE}/raw`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ batch: statements.map((sql) => ({ sql })) }),
  });
  if (!response.ok) throw new Error(await response.text());
}
