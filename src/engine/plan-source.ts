/** The plan of a migration between two databases: what `crossfade plan` and the workflow's first activity do. */
import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import type { Plan } from '../contract.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { originOf } from '../databases/sqlite/origin.ts';
import { checkFree } from './begin.ts';
import type { Endpoints } from './endpoints.ts';
import { checkIntegrity } from './integrity.ts';
import { planMigration, type PlanChoices } from './plan.ts';

/**
 * Checks that both databases are free and the source whole, and plans. Changes nothing.
 * @param migration that may already have begun; '' for none
 * @throws CrossfadeError MigrationExists, TargetNotEmpty, TargetRefused, SourceCorrupt; as `openSource` and `planMigration`
 */
export async function planSource(
  endpoints: Endpoints,
  migration: string,
  choices: PlanChoices,
): Promise<Plan> {
  const { sourcePath } = endpoints;
  await checkFree(endpoints, migration);
  await checkIntegrity(sourcePath);
  const db = openSource(sourcePath, 'read');
  try {
    const plan = await planMigration(db, choices);
    if (!isWritable(sourcePath)) {
      plan.blockers.push({
        code: 'read-only-source',
        message: `source ${sourcePath} cannot be written by this user, and the migration logs every change in it: run it as a user that may write to the file and to its directory`,
      });
    }
    plan.notices.push(...(originOf(sourcePath)?.notices() ?? []));
    return plan;
  } finally {
    db.close();
  }
}

/** SQLite makes files beside the database. */
function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
