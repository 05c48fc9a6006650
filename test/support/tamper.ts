import type pg from 'pg';

/** Changes rows of the target behind everyone's back: neither fenced nor captured. */
export async function tamper(target: pg.Client, tables: string[], sql: string): Promise<void> {
  await target.query('BEGIN');
  for (const table of tables) await target.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`);
  await target.query(sql);
  for (const table of tables) {
    const { rows } = await target.query<{ name: string }>(
      `SELECT tgname AS name FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal`,
      [table],
    );
    for (const { name } of rows) await target.query(`ALTER TABLE ${table} ENABLE ALWAYS TRIGGER "${name}"`);
  }
  await target.query('COMMIT');
}
