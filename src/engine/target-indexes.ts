/** What the target gets once the rows are there: its indexes, and the views over them. */
import type pg from 'pg';
import type { TablePlan, ViewsReport } from '../contract.ts';
import { CrossfadeError, driverCode, messageOf } from '../errors.ts';
import { quoted } from '../databases/identifiers.ts';
import { createIndexSql } from '../databases/postgres/ddl.ts';
import type { TargetLease } from '../databases/postgres/lease.ts';
import { targetTable } from '../databases/postgres/names.ts';
import type { Endpoints } from './endpoints.ts';
import { changeTarget, leased } from './target-schema.ts';
import { noteBuiltSql } from './store.ts';
import { createViews } from './views.ts';

/**
 * Builds every index that is missing, and then the views. From here on replay must apply whole snapshots, so that is
 * asked for first.
 */
export async function createIndexes(
  endpoints: Endpoints,
  lease: TargetLease,
  signal: AbortSignal,
): Promise<ViewsReport> {
  return changeTarget(endpoints, lease, async (client, plan) => {
    await leased(client, lease, ['UPDATE crossfade.checkpoint SET whole_batches = true WHERE id = 1']);
    for (const table of plan.tables) {
      for (const index of table.indexes) {
        await buildIndex(client, lease, table, createIndexSql(table, index));
      }
      await leased(client, lease, [`ANALYZE ${targetTable(table)}`]);
    }
    await leased(client, lease, [noteBuiltSql('indexes')]);
    return createViews(client, lease, endpoints.sourcePath, plan, signal);
  });
}

/** A minute in all: a whole batch may have much to catch up with. */
const INDEX_ATTEMPTS = 240;

async function buildIndex(
  client: pg.Client,
  lease: TargetLease,
  table: TablePlan,
  sql: string,
): Promise<void> {
  // 23505: a partial batch from before whole batches were asked for may hold two rows with one unique value for a
  // moment; the next whole batch mends it. 55P03: replay held the table.
  for (let attempt = 1; ; attempt++) {
    try {
      await leased(client, lease, [sql]);
      return;
    } catch (error) {
      if (!['23505', '55P03', '40P01'].includes(driverCode(error))) throw error;
      if (attempt === INDEX_ATTEMPTS) {
        throw new CrossfadeError(
          'Mismatch',
          `target table ${quoted(table.name)}: ${messageOf(error)}; the data do not satisfy an index that the source has`,
          error,
        );
      }
      await client.query('SELECT pg_sleep(0.25)');
    }
  }
}
