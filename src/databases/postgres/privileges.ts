/** What the application's own roles may do on the target: known before they have to. */
import type pg from 'pg';
import type { Plan } from '../../contract.ts';
import { quoted } from '../identifiers.ts';
import { nameOnTarget } from './names.ts';

/** A router that has not reported for so long has ended, and its role no longer matters. */
const SEEN_WITHIN = '10 minutes';
const PRIVILEGES = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'];

/** Names a privilege that a running router's role lacks on a table of the plan, with the GRANT that gives it; null where none does. */
export async function missingPrivilege(client: pg.Client, plan: Plan): Promise<string | null> {
  const { rows } = await client.query<{ role: string; table: string; privilege: string }>(
    `SELECT r.rolname AS role, t.name AS "table", p.name AS privilege
       FROM pg_roles r, unnest($1::text[]) AS t(name), unnest($2::text[]) AS p(name)
      WHERE r.rolname IN (SELECT role FROM crossfade.router WHERE seen_at > now() - $3::interval)
        AND NOT (has_schema_privilege(r.oid, 'public', 'USAGE')
                 AND has_table_privilege(r.oid, format('public.%I', t.name)::regclass, p.name))
      ORDER BY role, "table" LIMIT 1`,
    [plan.tables.map(nameOnTarget), PRIVILEGES, SEEN_WITHIN],
  );
  const missing = rows[0];
  if (missing === undefined) return null;
  const { role, table, privilege } = missing;
  return (
    `the application's role ${quoted(role)} may not ${privilege} on target table ${quoted(table)}: ` +
    `GRANT USAGE ON SCHEMA public TO ${quoted(role)}; GRANT ${PRIVILEGES.join(', ')} ON ALL TABLES IN SCHEMA public TO ${quoted(role)}`
  );
}
