/**
 * What PostgreSQL cannot be kept from while it is primary: DDL. A table that lost our triggers gets them again and is
 * compared in full; a column or table that the source does not have stands against the way back.
 */
import type pg from 'pg';
import type { Plan, TablePlan } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';
import type { TargetLease } from '../databases/postgres/lease.ts';
import { nameOnTarget } from '../databases/postgres/names.ts';
import { installCaptureSql, installFenceSql, TRIGGER_NAMES } from '../databases/postgres/triggers.ts';
import { asRead } from './generated.ts';
import { leased } from './target-schema.ts';

/** Tables of the plan whose fence or capture is missing or switched off; dropped tables are left out. */
async function damagedTables(client: pg.Client, plan: Plan): Promise<TablePlan[]> {
  const { rows } = await client.query<{ name: string; intact: string }>(
    `SELECT c.relname AS name, count(t.oid) AS intact
       FROM pg_catalog.pg_class c
       LEFT JOIN pg_catalog.pg_trigger t
         ON t.tgrelid = c.oid AND t.tgenabled = 'A' AND t.tgname = ANY($1::text[])
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      GROUP BY c.oid, c.relname HAVING count(t.oid) < $2`,
    [TRIGGER_NAMES, TRIGGER_NAMES.length],
  );
  const damaged = new Set(rows.map(({ name }) => name));
  return plan.tables.filter((table) => damaged.has(nameOnTarget(table)));
}

/**
 * Installs what is missing again and has those tables compared in full, because what they took meanwhile is not logged.
 * @returns their names
 */
export async function mendCapture(client: pg.Client, lease: TargetLease, plan: Plan): Promise<string[]> {
  const damaged = await damagedTables(client, plan);
  for (const table of damaged) {
    await leased(client, lease, [
      ...installFenceSql(table),
      ...installCaptureSql(table),
      `INSERT INTO crossfade.log (table_id, key) VALUES (${table.id}, NULL)`,
    ]);
  }
  return damaged.map((table) => table.name);
}

/**
 * Names why what the target holds cannot all go back to the source, null where it can: every trigger in place, and the
 * columns and tables those of the plan.
 */
export async function targetFault(client: pg.Client, plan: Plan): Promise<CrossfadeError | null> {
  const [damaged] = await damagedTables(client, plan);
  if (damaged !== undefined) {
    return changed(`table "${nameOnTarget(damaged)}" lost its triggers, so writes may have gone unlogged`);
  }
  const columns = plan.tables
    .map(asRead)
    .flatMap((table) =>
      table.columns.map((column) => [nameOnTarget(table), nameOnTarget(column), column.targetType] as const),
    );
  const { rows } = await client.query<{ table: string; column: string; planned: boolean; found: boolean }>(
    `SELECT coalesce(p.t, f.t) AS "table", coalesce(p.c, f.c) AS "column", p.c IS NOT NULL AS planned, f.c IS NOT NULL AS found
       FROM unnest($1::text[], $2::text[], $3::text[]) AS p(t, c, type)
       FULL JOIN (
         SELECT c.relname::text AS t, a.attname::text AS c, a.atttypid AS type
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
          WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
            AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
       ) f ON f.t = p.t AND f.c = p.c
      WHERE p.c IS NULL OR f.c IS NULL OR f.type <> to_regtype(p.type) LIMIT 1`,
    [columns.map(([table]) => table), columns.map(([, column]) => column), columns.map(([, , type]) => type)],
  );
  const odd = rows[0];
  if (odd === undefined) return null;
  const what = !odd.found ? 'is gone' : odd.planned ? 'has another type' : 'is unknown to the source';
  return changed(`column "${odd.column}" of table "${odd.table}" ${what}`);
}

function changed(what: string): CrossfadeError {
  return new CrossfadeError(
    'SchemaChanged',
    `target: ${what} since the cutover; undo the change, then roll back again`,
  );
}
