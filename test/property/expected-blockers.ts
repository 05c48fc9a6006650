/** Which refusals of a plan are deserved: each is proved from the data and the schema, by queries of its own. */
import type Database from 'better-sqlite3';
import type { Finding } from '../../src/contract.ts';
import { quote } from '../support/same.ts';

/** @returns the blockers that nothing in the source deserves */
export function undeserved(db: Database.Database, blockers: Finding[]): Finding[] {
  return blockers.filter((blocker) => !isDeserved(db, blocker));
}

function isDeserved(db: Database.Database, { code, table, column }: Finding): boolean {
  const count = (sql: string, ...parameters: string[]): number =>
    db
      .prepare(sql)
      .pluck()
      .get(...parameters) as number;
  const sql = table === undefined ? '' : sqlOf(db, table);
  switch (code) {
    case 'null-in-key':
      return count(`SELECT count(*) FROM ${quote(table!)} WHERE ${quote(column!)} IS NULL`) > 0;
    case 'mixed-classes':
    case 'inexact-number':
      // Only a key may be refused so, and only for its reals: their text is not certain.
      return (
        count(`SELECT count(*) FROM ${quote(table!)} WHERE typeof(${quote(column!)}) = 'real'`) > 0 &&
        inKey(db, table!, column!)
      );
    case 'orphans':
      return count('SELECT count(*) FROM pragma_foreign_key_check') > 0;
    case 'key-type-mismatch':
      return cannotBeOneType(db, table!);
    case 'nocase-parent':
      return /COLLATE (NOCASE|RTRIM)/.test(allSql(db));
    case 'collation-unique':
      return /COLLATE RTRIM/.test(sql);
    case 'unique-index':
      // Over an expression or a condition whose operands may hold anything.
      return /CREATE UNIQUE INDEX .*( WHERE |\|\||lower\(|length\(|substr\(|coalesce\(|CASE |%|&|IS )/s.test(
        sql,
      );
    case 'capture-scan':
      return /CREATE UNIQUE INDEX .*(coalesce\(| NULL)/s.test(sql) && / NOT NULL|PRIMARY KEY/.test(sql);
    case 'default-not-null':
      return /NOT NULL DEFAULT/.test(sql);
    case 'generated-column':
      return /GENERATED ALWAYS/.test(sql);
    default:
      return false;
  }
}

function sqlOf(db: Database.Database, table: string): string {
  return (
    db
      .prepare('SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL')
      .pluck()
      .all(table) as string[]
  ).join(';\n');
}

function allSql(db: Database.Database): string {
  return (db.prepare('SELECT sql FROM sqlite_master WHERE sql IS NOT NULL').pluck().all() as string[]).join(
    ';\n',
  );
}

/** In the primary key, or in a unique constraint of a table without one. */
function inKey(db: Database.Database, table: string, column: string): boolean {
  const key = db
    .prepare('SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0')
    .pluck()
    .all(table) as string[];
  if (key.length > 0) return key.includes(column);
  const unique = db
    .prepare(
      `SELECT i.name FROM pragma_index_list(?) l JOIN pragma_index_info(l.name) i WHERE l."unique" = 1`,
    )
    .pluck()
    .all(table) as (string | null)[];
  return unique.includes(column);
}

/** Does a foreign key of the table join columns that are declared differently, or a key that cannot take other classes? */
function cannotBeOneType(db: Database.Database, table: string): boolean {
  const rows = db
    .prepare(
      `SELECT f."table" AS parent, f."from", coalesce(f."to", (SELECT name FROM pragma_table_xinfo(f."table") WHERE pk = f.seq + 1)) AS "to"
         FROM pragma_foreign_key_list(?) f`,
    )
    .all(table) as { parent: string; from: string; to: string }[];
  const declared = (of: string, name: string): unknown =>
    db
      .prepare(
        'SELECT c.type || l.strict FROM pragma_table_list l JOIN pragma_table_xinfo(l.name) c WHERE l.name = ? AND c.name = ?',
      )
      .pluck()
      .get(of, name);
  const reals = (of: string, name: string): boolean =>
    db
      .prepare(`SELECT count(*) FROM ${quote(of)} WHERE typeof(${quote(name)}) = 'real'`)
      .pluck()
      .get() !== 0;
  return rows.some(
    ({ parent, from, to }) =>
      declared(table, from) !== declared(parent, to) || reals(parent, to) || reals(table, from),
  );
}
