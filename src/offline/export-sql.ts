/** The text of an export's files: SQL alone, but for `load.sql`, which is psql's. */
import type { Plan, TablePlan } from '../contract.ts';
import { literal } from '../databases/identifiers.ts';
import {
  addForeignKeySql,
  advanceSequenceSql,
  createIndexSql,
  createTableSql,
  createViewSql,
  validateForeignKeySql,
} from '../databases/postgres/ddl.ts';
import { targetColumns, targetTable } from '../databases/postgres/names.ts';

export interface ExportedTable {
  table: TablePlan;
  /** Relative to the folder. */
  file: string;
  rows: number;
}

/** What the text of values means must not depend on the server, the role or the client. */
const SETTINGS = `SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET DateStyle = 'ISO, YMD';
SET TimeZone = 'UTC';
`;

/** Refuses a database that holds something, or that cannot hold every text. */
const EMPTY = `DO $$
DECLARE
  found text;
BEGIN
  IF current_setting('server_encoding') <> 'UTF8' THEN
    RAISE EXCEPTION 'the database stores text as %: create one with ENCODING ''UTF8'' TEMPLATE template0', current_setting('server_encoding');
  END IF;
  SELECT c.relname INTO found FROM pg_catalog.pg_class c
   WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') LIMIT 1;
  IF found IS NOT NULL THEN
    RAISE EXCEPTION 'the database is not empty: schema public has "%"', found;
  END IF;
END $$;
`;

/** Everything in one transaction. Paths are relative to the script, wherever psql runs. */
export function loadScript(tables: ExportedTable[]): string {
  const files = [
    'schema.sql',
    ...tables.map(({ file }) => file),
    'counts.sql',
    'indexes.sql',
    'constraints.sql',
  ];
  return `-- psql -X -f load.sql postgres://…  (an empty database; all of it or nothing)
\\set ON_ERROR_STOP on
\\set QUIET on
BEGIN;
${files.map((file) => `\\ir ${file}\n`).join('')}COMMIT;
\\echo 'loaded: ${tables.length} tables, ${tables.reduce((sum, { rows }) => sum + rows, 0)} rows'
`;
}

/** Tables with keys, defaults and CHECKs. Those that only guard a way back to SQLite stay away: there is none. */
export function schemaSql(plan: Plan): string {
  return SETTINGS + EMPTY + statements(plan.tables.map((table) => createTableSql({ ...table, guards: [] })));
}

/** What comes before the rows in a table's file. */
export function copyHead(table: TablePlan): string {
  return `${SETTINGS}COPY ${targetTable(table)} (${targetColumns(table).join(', ')}) FROM stdin;\n`;
}

export const COPY_END = '\\.\n';

/** psql takes the end of a file for the end of the rows: only counts tell that a file was cut off. */
export function countsSql(tables: ExportedTable[]): string {
  const checks = tables.map(
    ({ table, file, rows }) => `  IF (SELECT count(*) FROM ${targetTable(table)}) <> ${rows} THEN
    RAISE EXCEPTION ${literal(`${file}: ${rows} rows were exported, % are there`)}, (SELECT count(*) FROM ${targetTable(table)});
  END IF;
`,
  );
  return `DO ${literal(`BEGIN\n${checks.join('')}END`)};\n`;
}

export function indexesSql(plan: Plan): string {
  return statements(
    plan.tables.flatMap((table) => table.indexes.map((index) => createIndexSql(table, index))),
  );
}

/** Foreign keys, and sequences past every number that either database knows of. */
export function constraintsSql(plan: Plan, handedOut: Map<string, bigint>): string {
  const keys = plan.tables.flatMap((table) => table.foreignKeys.map((key) => ({ table, key })));
  return statements([
    ...keys.map(({ table, key }) => addForeignKeySql(table, key)),
    ...keys
      .filter(({ key }) => key.notValid !== true)
      .map(({ table, key }) => validateForeignKeySql(table, key)),
    ...plan.tables
      .map((table) => advanceSequenceSql(table, handedOut.get(table.name) ?? 0n))
      .filter((sql) => sql !== ''),
    ...plan.tables.map((table) => `ANALYZE ${targetTable(table)}`),
  ]);
}

export function viewsSql(plan: Plan): string {
  return `-- Not loaded by load.sql: a migration keeps a view only where it returns the same rows on both databases, and an export
-- has one. Compare them yourself.
${statements((plan.views ?? []).map(createViewSql))}`;
}

function statements(sql: string[]): string {
  return sql.map((one) => `${one};\n`).join('');
}
