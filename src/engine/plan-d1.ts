/** The plan of a migration from D1, made from a mirror that is thrown away after. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Plan } from '../contract.ts';
import type { D1Source } from '../databases/d1/address.ts';
import { REQUESTS_PER_WINDOW, WINDOW_MS, type D1Client } from '../databases/d1/client.ts';
import type { FillProgress } from '../databases/d1/fill.ts';
import { openD1 } from '../databases/d1/open.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { checkTarget } from './begin.ts';
import { planMigration, type PlanChoices } from './plan.ts';

/**
 * Reads every row of the database once, by requests that change nothing, and plans.
 * @throws CrossfadeError MigrationExists, TargetNotEmpty, TargetRefused; as `openD1`, `LiveD1.ready` and `planMigration`
 */
export async function planD1(
  source: D1Source,
  targetUrl: string,
  choices: PlanChoices,
  onProgress?: (progress: FillProgress) => void,
): Promise<Plan> {
  await checkTarget(targetUrl, '');
  const folder = await mkdtemp(join(tmpdir(), 'crossfade-d1-'));
  try {
    const path = join(folder, 'mirror.db');
    const { live, client, close } = await openD1(source, path);
    try {
      await live.ready(onProgress);
      const db = openSource(path, 'read');
      try {
        const plan = await planMigration(db, choices);
        plan.notices.push(requestNotice(client));
        return plan;
      } finally {
        db.close();
      }
    } finally {
      close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function requestNotice({ counts }: D1Client): Plan['notices'][number] {
  const windows = Math.floor(counts.requests / REQUESTS_PER_WINDOW);
  const wait =
    windows === 0
      ? 'within one window'
      : `for which it waits at least ${(windows * WINDOW_MS) / 60_000} minutes`;
  return {
    code: 'd1-requests',
    message:
      `reading every row once took ${counts.requests} requests to Cloudflare; crossfade sends at most ${REQUESTS_PER_WINDOW} in ` +
      `${WINDOW_MS / 60_000} minutes, ${wait}`,
  };
}
