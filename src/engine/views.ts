/** The views: each is tried on the target's rows, and kept where it returns what the source's returns. */
import type pg from 'pg';
import type { Finding, Plan, ViewPlan, ViewsReport } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { createViewSql, dropViewSql, grantViewSql } from '../databases/postgres/ddl.ts';
import type { TargetLease } from '../databases/postgres/lease.ts';
import { targetTable } from '../databases/postgres/names.ts';
import { pause } from './endpoints.ts';
import { oneLine } from './findings.ts';
import { leased } from './target-schema.ts';
import { NotTheSame, tryView, ViewReader } from './view-trial.ts';

/** For the rows of one view on either database. */
const VIEW_MS = 120_000;
/** For all of them; views must not hold a migration up. */
const VIEWS_MS = 900_000;
/** How long to wait for a moment in which replay has caught up with the tables of a view. */
const QUIET_MS = 20_000;
const QUIET_PAUSE_MS = 20;
const SHOWN = 10;

/**
 * Creates the planned views, none before it is known to return the same rows. May be repeated: what an earlier attempt
 * created is tried again.
 */
export async function createViews(
  client: pg.Client,
  lease: TargetLease,
  sourcePath: string,
  plan: Plan,
  signal: AbortSignal,
): Promise<ViewsReport> {
  const views = plan.views ?? [];
  const leftOut: Finding[] = [];
  if (views.length === 0) return { created: 0, leftOutCount: 0, leftOut };
  await leased(client, lease, views.toReversed().map(dropViewSql));
  const reader = new ViewReader(sourcePath);
  const giveUpAt = performance.now() + VIEWS_MS;
  try {
    for (const view of views) {
      const why =
        performance.now() > giveUpAt
          ? `there was no time left to compare its rows`
          : await fault(client, reader, view, signal);
      if (why === null) {
        const grants = (await readersOf(client, view, plan)).map((role) => grantViewSql(view, role));
        await leased(client, lease, [createViewSql(view), ...grants]);
      } else leftOut.push(leftOutFinding(view, why));
    }
  } finally {
    reader.stop();
  }
  return {
    created: views.length - leftOut.length,
    leftOutCount: leftOut.length,
    leftOut: leftOut.slice(0, SHOWN),
  };
}

/** Why the view cannot be kept, null where it returns the same rows. */
async function fault(
  client: pg.Client,
  reader: ViewReader,
  view: ViewPlan,
  signal: AbortSignal,
): Promise<string | null> {
  const giveUpAt = performance.now() + QUIET_MS;
  try {
    while ((await tryView(client, reader, view, VIEW_MS, signal)) === 'changed') {
      if (performance.now() > giveUpAt)
        return 'its tables changed all the time, so its rows could not be compared';
      await pause(QUIET_PAUSE_MS, signal);
      signal.throwIfAborted();
    }
    return null;
  } catch (error) {
    if (error instanceof NotTheSame) return error.message;
    throw error;
  }
}

/** Roles, for use in SQL, that have been granted to read every table of the view, and so may see what it shows. */
async function readersOf(client: pg.Client, view: ViewPlan, plan: Plan): Promise<string[]> {
  const tables = plan.tables.filter(({ id }) => view.tables.includes(id)).map(targetTable);
  const { rows } = await client.query<{ role: string }>(
    `SELECT DISTINCT quote_ident(g.role) AS role
       FROM pg_catalog.pg_class c, aclexplode(c.relacl) a,
            LATERAL (SELECT CASE a.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(a.grantee) END) AS g(role)
      WHERE c.oid = ANY($1::regclass[]) AND a.grantee <> c.relowner
        AND NOT EXISTS (SELECT 1 FROM unnest($1::regclass[]) AS t WHERE NOT has_table_privilege(g.role, t, 'SELECT'))`,
    [tables],
  );
  return rows.map(({ role }) => role);
}

function leftOutFinding(view: ViewPlan, why: string): Finding {
  return {
    code: 'view-left-out',
    table: view.name,
    message: `view ${quoted(view.name)} is left out of the target: ${why}: ${oneLine(view.selectSql)}`,
  };
}
