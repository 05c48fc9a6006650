/** The target's application schema: tables with keys first, indexes after the copy, foreign keys last. */
import type pg from 'pg';
import type { Plan } from '../contract.ts';
import { CrossfadeError, driverCode, messageOf } from '../errors.ts';
import { quoted } from '../databases/identifiers.ts';
import { mayActAsReplica } from '../databases/postgres/apply.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import {
  addForeignKeySql,
  advanceSequenceSql,
  createTableSql,
  dropTableSql,
  dropViewSql,
  validateForeignKeySql,
} from '../databases/postgres/ddl.ts';
import { commentMomentsSql } from '../databases/postgres/moments.ts';
import { readControl } from '../databases/postgres/control.ts';
import { installFenceSql } from '../databases/postgres/triggers.ts';
import {
  applicationName,
  holdLeaseSql,
  leaseError,
  takeLease,
  type TargetLease,
} from '../databases/postgres/lease.ts';
import type { Endpoints } from './endpoints.ts';
import { orphansText } from './target-orphans.ts';
import { noteBuiltSql, readPlan } from './store.ts';

/** Runs `work` with the lease held on one connection. */
export async function changeTarget<T>(
  endpoints: Endpoints,
  lease: TargetLease,
  work: (client: pg.Client, plan: Plan) => Promise<T>,
): Promise<T> {
  const client = await connectTarget(endpoints.targetUrl, { applicationName: applicationName(lease) });
  try {
    await takeLease(client, lease);
    return await work(client, await readPlan(client));
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Runs statements in one transaction that proves the lease at its end. */
export async function leased(client: pg.Client, lease: TargetLease, statements: string[]): Promise<void> {
  try {
    // One simple query is one implicit transaction.
    await client.query([...statements, holdLeaseSql(lease)].join(';\n'));
  } catch (error) {
    throw leaseError(error);
  }
}

/** Creates the tables with their keys, defaults and checks, fenced from the start. Idempotent. */
export async function createTables(endpoints: Endpoints, lease: TargetLease): Promise<void> {
  await changeTarget(endpoints, lease, async (client, plan) => {
    for (const table of plan.tables) {
      await leased(client, lease, [
        createTableSql(table),
        ...commentMomentsSql(table),
        ...installFenceSql(table),
      ]);
    }
    await leased(client, lease, [noteBuiltSql('tables')]);
  });
}

/**
 * Looks at all of them before it fails, so that every orphan can be mended at once.
 * @param primary the side where the application writes @throws CrossfadeError Orphans
 */
async function validateForeignKeys(
  client: pg.Client,
  lease: TargetLease,
  plan: Plan,
  primary: 'source' | 'target',
): Promise<void> {
  const broken: string[] = [];
  let cause: unknown;
  for (const table of plan.tables) {
    for (const key of table.foreignKeys.filter(({ notValid }) => notValid !== true)) {
      try {
        await leased(client, lease, [validateForeignKeySql(table, key)]);
      } catch (error) {
        if (driverCode(error) !== '23503') throw error;
        cause = error;
        // Replay may have taken them away since.
        const what = (await orphansText(client, table, key)) ?? messageOf(error);
        broken.push(`foreign key ${quoted(key.name)}: ${what}`);
      }
    }
  }
  if (broken.length === 0) return;
  throw new CrossfadeError(
    'Orphans',
    `${broken.join('; ')}; delete these rows or set the reference to NULL in the ${primary}, where the application writes`,
    cause,
  );
}

/**
 * Adds the foreign keys without looking at the rows, then validates them. Where the role may not switch their actions
 * off for replayed rows, they are added after the cutover instead.
 * @returns whether they are there now @throws CrossfadeError Orphans where rows break one, which stays NOT VALID
 */
export async function addForeignKeys(endpoints: Endpoints, lease: TargetLease): Promise<boolean> {
  return changeTarget(endpoints, lease, async (client, plan) => {
    const { rows } = await client.query<{ state: string }>(
      'SELECT state FROM crossfade.control WHERE id = 1',
    );
    if (rows[0]?.state !== 'open' && !(await mayActAsReplica(client))) return false;
    for (const table of plan.tables) {
      for (const key of table.foreignKeys) await leased(client, lease, [addForeignKeySql(table, key)]);
    }
    await validateForeignKeys(client, lease, plan, rows[0]?.state === 'open' ? 'target' : 'source');
    await leased(client, lease, [noteBuiltSql('foreign-keys')]);
    return true;
  });
}

/** Moves every sequence past the greatest id in the table and past what the source has handed out. */
export async function advanceSequences(
  client: pg.Client,
  lease: TargetLease,
  plan: Plan,
  handedOut: Map<string, bigint>,
): Promise<void> {
  const sql = plan.tables
    .filter((table) => table.columns.some((column) => column.identity))
    .map((table) => advanceSequenceSql(table, handedOut.get(table.name) ?? 0n));
  // The lease before and after: a sequence does not go back with its transaction.
  if (sql.length > 0) await leased(client, lease, [holdLeaseSql(lease), ...sql]);
}

/** Drops the tables of the plan and everything of ours, or leaves the tables and keeps them fenced. */
export async function leaveTarget(
  endpoints: Endpoints,
  migration: string,
  tables: 'drop' | 'keep',
): Promise<string> {
  const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade clean-up' });
  try {
    await client.query('BEGIN');
    // The row stays locked to the end: by the time that a stale attempt wakes up, another migration's tables may be
    // here, and even be the primary.
    const control = await readControl(client, 'FOR UPDATE');
    if (control === null) return 'target: nothing of this migration was there';
    if (control.migration !== migration) return 'target: belongs to another migration, left alone';
    if (['open', 'fencing'].includes(control.state)) {
      throw new CrossfadeError(
        'OutcomeUnknown',
        'target: it is primary; move the writes back before it is dropped',
      );
    }
    if (tables === 'keep') return 'target: tables kept, fenced against writes, with schema "crossfade"';
    const plan = await readPlan(client);
    const drops = [...(plan.views ?? []).map(dropViewSql), ...plan.tables.map(dropTableSql)];
    await client.query([...drops, 'DROP SCHEMA crossfade CASCADE'].join(';\n'));
    await client.query('COMMIT');
    return `target: ${plan.tables.length} tables and schema "crossfade" dropped`;
  } finally {
    await client.end();
  }
}
