/** What a migration has to leave, and what it must not, looked up in both databases' own catalogues. */
import Database from 'better-sqlite3';
import pg from 'pg';
import type { RunSource } from '../sources/source.ts';
import { violations, type Violation } from './violation.ts';

export type End = 'source' | 'target';

interface Databases {
  source: RunSource;
  target: { direct: string };
  options: { targetAfterRollback: 'drop' | 'keep' };
}

export async function checkRemains(end: End, databases: Databases): Promise<Violation[]> {
  const { source, target, options } = databases;
  const { file, baseline } = source;
  const kept = end === 'source' && options.targetAfterRollback === 'keep';
  return violations('remains', [
    ...(end === 'source' ? sourceAlone(file, baseline) : await sourceFenced(source)),
    ...(await (kept ? targetFenced(target.direct) : targetRemains(end, target.direct, tablesOf(baseline)))),
  ]);
}

/** Without the tables that D1 keeps for itself. */
function schemaOf(path: string): string[] {
  const db = new Database(path, { readonly: true });
  try {
    return db
      .prepare(
        `SELECT type || ' ' || name || ' ' || coalesce(replace(sql, '"', ''), '') FROM sqlite_master
          WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY 1`,
      )
      .pluck()
      .all() as string[];
  } finally {
    db.close();
  }
}

function sourceAlone(source: string, baseline: string): string[] {
  const [is, ought] = [schemaOf(source), schemaOf(baseline)];
  return [
    ...is.filter((line) => !ought.includes(line)).map((line) => `left in the source: ${line.slice(0, 120)}`),
    ...ought
      .filter((line) => !is.includes(line))
      .map((line) => `gone from the source: ${line.slice(0, 120)}`),
  ];
}

function tablesOf(path: string): number {
  return schemaOf(path).filter((line) => /^table (?!sqlite_)/.test(line)).length;
}

/** A writer that knows nothing of the migration must not get in. */
async function sourceFenced(source: RunSource): Promise<string[]> {
  try {
    await source.write(['UPDATE counter SET n = n WHERE id = 1']);
    return ['the source takes writes although the target is primary'];
  } catch (error) {
    return String(error).includes('crossfade: fenced')
      ? []
      : [`the source refuses in its own way: ${String(error)}`];
  }
}

/** A target that is kept after a rollback takes no writes, as far as it has tables. */
async function targetFenced(url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('UPDATE counter SET n = n WHERE id = 1');
    return ['the target takes writes although the source is primary'];
  } catch (error) {
    return ['CF001', '42P01'].includes(String((error as { code?: unknown }).code))
      ? []
      : [`the target refuses in its own way: ${String(error)}`];
  } finally {
    await client.end();
  }
}

async function targetRemains(end: End, url: string, tableCount: number): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const names = async (sql: string): Promise<string[]> =>
    (await client.query<{ name: string }>(sql)).rows.map(({ name }) => name);
  try {
    const tables = await names(
      `SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
    );
    if (end === 'source') {
      const schemas = await names(`SELECT nspname AS name FROM pg_namespace WHERE nspname = 'crossfade'`);
      return [...tables, ...schemas].map((name) => `left in the target: ${name}`);
    }
    const triggers = await names(
      `SELECT tgname || ' on ' || tgrelid::regclass AS name FROM pg_trigger
        WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)`,
    );
    const constraints = await names(
      `SELECT contype::text AS name FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND convalidated`,
    );
    const count = (type: string): number => constraints.filter((name) => name === type).length;
    return [
      ...triggers.map((name) => `left in the target: trigger ${name}`),
      ...(count('p') === tableCount ? [] : [`the target has ${count('p')} primary keys, not ${tableCount}`]),
      ...(count('f') === 1 ? [] : [`the target has ${count('f')} validated foreign keys, not 1`]),
    ];
  } finally {
    await client.end();
  }
}
