/** The plan of a migration from D1, made from a mirror that is thrown away after. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Plan } from '../contract.ts';
import type { D1Source } from '../databases/d1/address.ts';
import { D1Client } from '../databases/d1/client.ts';
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
    const { live, close } = openD1(await D1Client.open(source.address, source.access), path);
    try {
      await live.ready(onProgress);
      const db = openSource(path, 'read');
      try {
        const plan = await planMigration(db, choices);
        plan.notices.push(...live.notices());
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
