/** Settings that a session of PostgreSQL needs and that a pooler between transactions, as Hyperdrive is, does not keep. */
import type pg from 'pg';
import { CrossfadeError } from '../errors.ts';

/** Setting, what it has to be, and how to say so. */
const NEEDED: [name: string, good: RegExp, set: string][] = [
  ['TimeZone', /^(?:Etc\/)?(?:UTC|UCT|GMT|Universal|Zulu)$/i, `TimeZone = 'UTC'`],
  ['DateStyle', /^ISO/, `DateStyle = 'ISO, YMD'`],
  ['bytea_output', /^hex$/, `bytea_output = 'hex'`],
  ['standard_conforming_strings', /^on$/, 'standard_conforming_strings = on'],
  ['synchronous_commit', /^(?!off$)/, 'synchronous_commit = on'],
];

const READ = `SELECT current_user AS role, ${NEEDED.map(([name], i) => `current_setting('${name}') AS s${i}`).join(', ')}`;

/**
 * Looks at them in a transaction of its own, after the one that has set them.
 * @throws CrossfadeError BadConnection with the statements that an administrator has to run
 */
export async function assertSettings(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<Record<string, string>>(READ);
  const row = rows[0]!;
  const missing = NEEDED.filter(([, good], i) => !good.test(row[`s${i}`]!));
  if (missing.length === 0) return;
  const role = `"${row['role']!.replaceAll('"', '""')}"`;
  throw new CrossfadeError(
    'BadConnection',
    'the pooler before the target does not keep the settings of a session: ' +
      missing.map(([, , set]) => `ALTER ROLE ${role} SET ${set}`).join('; '),
  );
}
