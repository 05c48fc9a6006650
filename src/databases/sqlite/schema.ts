/** Reads the application's schema out of SQLite: what the pragmas tell, completed from the SQL where they tell nothing. */
import type Database from 'better-sqlite3';
import { SQLITE_PREFIX } from '../../protocol.ts';
import { asciiLower, literal, sameName } from '../identifiers.ts';
import { affinityOf, type Affinity } from './affinity.ts';
import { parseIndexSql } from './index-sql.ts';
import { parseTableSql, type TableSql } from './table-sql.ts';
import { masterOf } from './origin.ts';
import { tokenize } from './tokens.ts';

export interface SourceColumn {
  name: string;
  /** As written, '' for none. */
  declared: string;
  affinity: Affinity;
  notNull: boolean;
  /** Text of the DEFAULT, without outer parentheses; null where there is none. */
  defaultText: string | null;
  /** Place in the primary key from 1, 0 outside it. */
  keyPlace: number;
  generated: 'no' | 'virtual' | 'stored';
  /** Of a generated column, as written, in parentheses; '' where CREATE TABLE was not understood. */
  expression?: string;
  /** Declared collation, upper case. */
  collation: string;
}

/** One term of an index: a column or an expression, never both. */
export interface IndexTerm {
  column?: string;
  /** As written in CREATE INDEX. */
  expression?: string;
  /** As SQLite spells it; compare without case. */
  collation: string;
  descending: boolean;
}

export interface SourceIndex {
  name: string;
  unique: boolean;
  /** `c`: CREATE INDEX, `u`: a UNIQUE constraint, `pk`: the primary key. */
  origin: 'c' | 'u' | 'pk';
  terms: IndexTerm[];
  /** Condition of a partial index, as written. */
  predicate?: string;
  /** No expression among the terms. */
  plain: boolean;
  /** False where CREATE INDEX was not understood, so that expressions or the predicate are missing. */
  understood: boolean;
}

/** A unique index or constraint, the primary key included. */
export type UniqueIndex = Pick<SourceIndex, 'name' | 'terms' | 'predicate' | 'plain'>;

export interface SourceForeignKey {
  /** Absent where the clause has none. */
  name?: string;
  columns: string[];
  /** As the clause names it; a table of this name may be missing. */
  parent: string;
  /** Null where the clause names none: the parent's primary key. */
  parentColumns: string[] | null;
  onDelete: string;
  onUpdate: string;
  deferred: boolean;
}

export interface SourceTable {
  name: string;
  sql: string;
  columns: SourceColumn[];
  /** The primary key's columns in key order; empty for none. */
  primaryKey: string[];
  /** The primary key is the rowid under another name. */
  rowidAlias: boolean;
  withoutRowid: boolean;
  strict: boolean;
  autoincrement: boolean;
  indexes: SourceIndex[];
  foreignKeys: SourceForeignKey[];
  checks: string[];
  conflictClauses: string[];
  /** False where CREATE TABLE was not understood, so that collations, CHECKs and the like are missing. */
  understood: boolean;
}

export interface SourceSchema {
  /** In name order. */
  tables: SourceTable[];
  triggers: { name: string; table: string; sql: string }[];
  views: { name: string; sql: string }[];
  /** Virtual tables with the tables that hold their contents. */
  virtualTables: { name: string; sql: string; shadows: string[] }[];
  /** Objects that are left out of all this because of their names: ours would be taken for one of these. */
  reserved: { type: string; name: string; by: 'crossfade' | 'cloudflare' }[];
}

interface MasterRow {
  type: 'table' | 'index' | 'trigger' | 'view';
  name: string;
  tbl_name: string;
  sql: string | null;
}

/** The application's own tables, triggers, views and virtual tables. Reads no rows. */
export function readSchema(db: Database.Database): SourceSchema {
  const all = db
    .prepare<[], MasterRow>(`SELECT type, name, tbl_name, sql FROM ${masterOf(db)} ORDER BY name`)
    .all();
  const master = all.filter((row) => isApplications(row.name));
  const listed = new Map(
    db
      .prepare<[], ListedTable>(`SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'`)
      .all()
      .map((table) => [table.name, table]),
  );
  const kind = (name: string): string | undefined => listed.get(name)?.type;
  const named = (type: MasterRow['type']): (MasterRow & { sql: string })[] =>
    master.filter((row): row is MasterRow & { sql: string } => row.type === type && row.sql !== null);
  const virtual = named('table').filter((row) => kind(row.name) === 'virtual');
  const shadows = named('table').filter((row) => kind(row.name) === 'shadow');
  return {
    tables: named('table')
      .filter((row) => kind(row.name) === 'table')
      .map((row) => readTable(db, row.name, row.sql, listed.get(row.name)!)),
    triggers: named('trigger').map(({ name, tbl_name, sql }) => ({ name, table: tbl_name, sql })),
    views: named('view').map(({ name, sql }) => ({ name, sql })),
    virtualTables: virtual.map(({ name, sql }) => ({
      name,
      sql,
      shadows: shadows.filter((row) => ownerOf(row.name, virtual) === name).map((row) => row.name),
    })),
    reserved: all.flatMap(({ type, name }) => {
      const by = reservedBy(name);
      return by === null ? [] : [{ type, name, by }];
    }),
  };
}

/** Every table and trigger that capture, leases and fences make. */
const OURS = new RegExp(
  `^${SQLITE_PREFIX}(?:control|lease|log|log_cap|suspended|numbering|batch|\\d+_(?:\\w+))$`,
);

/** Whose name an object of the application has, if not its own. */
function reservedBy(name: string): 'crossfade' | 'cloudflare' | null {
  const lower = asciiLower(name);
  if (lower.startsWith(SQLITE_PREFIX)) return OURS.test(name) ? null : 'crossfade';
  return lower.startsWith('_cf_') ? 'cloudflare' : null;
}

interface ListedTable {
  name: string;
  type: string;
  wr: number;
  strict: number;
}

/** SQLite's own objects, ours, and Cloudflare's are not the application's. */
export function isApplications(name: string): boolean {
  const lower = asciiLower(name);
  return !['sqlite_', SQLITE_PREFIX, '_cf_'].some((prefix) => lower.startsWith(prefix));
}

/** A shadow table is named after its virtual table; of two that fit, the longer name. */
function ownerOf(shadow: string, virtual: { name: string }[]): string | undefined {
  return virtual
    .map((table) => table.name)
    .filter((name) => asciiLower(shadow).startsWith(`${asciiLower(name)}_`))
    .sort((a, b) => b.length - a.length)[0];
}

function readTable(db: Database.Database, name: string, sql: string, listed: ListedTable): SourceTable {
  const parsed = parseTableSql(sql);
  const strict = listed.strict === 1;
  const columns = readColumns(db, name, strict, parsed);
  const indexes = readIndexes(db, name);
  const key = columns.filter((column) => column.keyPlace > 0).sort((a, b) => a.keyPlace - b.keyPlace);
  const withoutRowid = listed.wr === 1;
  // Only a rowid alias has no index of its own: INT PRIMARY KEY and INTEGER PRIMARY KEY DESC have one.
  const rowidAlias = !withoutRowid && key.length === 1 && !indexes.some((index) => index.origin === 'pk');
  return {
    name,
    sql,
    columns,
    primaryKey: key.map((column) => column.name),
    rowidAlias,
    withoutRowid,
    strict,
    autoincrement: rowidAlias && /\bAUTOINCREMENT\b/i.test(withoutLiterals(sql)),
    indexes,
    foreignKeys: readForeignKeys(db, name, parsed),
    checks: parsed?.checks ?? [],
    conflictClauses: parsed?.conflictClauses ?? [],
    understood: parsed !== null,
  };
}

/** Without comments, strings and quoted names, so that a keyword found in it is one. */
function withoutLiterals(sql: string): string {
  return sql.replace(
    /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]/g,
    ' ',
  );
}

interface ColumnRow {
  name: string;
  type: string;
  notnull: number;
  dflt_value: string | null;
  pk: number;
  hidden: number;
}

function readColumns(
  db: Database.Database,
  table: string,
  strict: boolean,
  parsed: TableSql | null,
): SourceColumn[] {
  return db
    .prepare<[], ColumnRow>(`SELECT * FROM pragma_table_xinfo(${literal(table)}) ORDER BY cid`)
    .all()
    .map((row) => {
      const generated = row.hidden === 2 ? 'virtual' : row.hidden === 3 ? 'stored' : 'no';
      const name = asciiLower(row.name);
      return {
        name: row.name,
        declared: row.type,
        affinity: affinityOf(row.type, strict),
        notNull: row.notnull === 1,
        defaultText: row.dflt_value,
        keyPlace: row.pk,
        generated,
        ...(generated === 'no' ? {} : { expression: parsed?.generated.get(name) ?? '' }),
        collation: (parsed?.collations.get(name) ?? 'BINARY').toUpperCase(),
      };
    });
}

/** Generated columns with their expressions, each after those that its expression may refer to. */
export function generatedColumnsOf(
  db: Database.Database,
  table: string,
): { name: string; expression: string }[] {
  const sql = db
    .prepare<[string], string>(
      `SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE`,
    )
    .pluck()
    .get(table);
  let pending = readColumns(db, table, false, parseTableSql(sql ?? '')).filter(
    (column) => column.generated !== 'no',
  );
  const ordered: { name: string; expression: string }[] = [];
  while (pending.length > 0) {
    const free = pending.filter(({ expression }) => !pending.some(({ name }) => mentions(expression!, name)));
    // SQLite allows no circle, so this only ends a misreading.
    const next = free.length > 0 ? free : pending;
    ordered.push(...next.map(({ name, expression }) => ({ name, expression: expression! })));
    pending = pending.filter((column) => !next.includes(column));
  }
  return ordered;
}

/** Does the SQL name this column, or hold a text that looks like it? */
function mentions(sql: string, name: string): boolean {
  return tokenize(sql)?.some((token) => sameName(token.value, name)) ?? true;
}

interface IndexRow {
  name: string;
  unique: number;
  origin: 'c' | 'u' | 'pk';
  partial: number;
  sql: string | null;
}

function readIndexes(db: Database.Database, table: string): SourceIndex[] {
  return db
    .prepare<[], IndexRow>(
      `SELECT l.name, l."unique", l.origin, l.partial, m.sql FROM pragma_index_list(${literal(table)}) l
         LEFT JOIN sqlite_master m ON m.type = 'index' AND m.name = l.name ORDER BY l.name`,
    )
    .all()
    .filter((row) => row.origin !== 'c' || isApplications(row.name))
    .map((row) => readIndex(db, row));
}

interface TermRow {
  seqno: number;
  cid: number;
  name: string | null;
  desc: number;
  coll: string;
}

function readIndex(db: Database.Database, row: IndexRow): SourceIndex {
  const parsed = row.sql === null ? null : parseIndexSql(row.sql);
  const found = db
    .prepare<[], TermRow>(
      `SELECT seqno, cid, name, desc, coll FROM pragma_index_xinfo(${literal(row.name)}) WHERE key = 1 ORDER BY seqno`,
    )
    .all();
  const terms = found.map((term): IndexTerm => {
    const order = { collation: term.coll, descending: term.desc === 1 };
    if (term.name !== null) return { column: term.name, ...order };
    // cid -1 is the rowid under one of its own names: an expression to us.
    return { expression: parsed?.terms[term.seqno] ?? '', ...order };
  });
  const plain = terms.every((term) => term.column !== undefined);
  const partial = row.partial === 1;
  return {
    name: row.name,
    unique: row.unique === 1,
    origin: row.origin,
    terms,
    ...(partial ? { predicate: parsed?.predicate ?? '' } : {}),
    plain,
    understood:
      (plain || parsed?.terms.length === found.length) && (!partial || (parsed?.predicate ?? null) !== null),
  };
}

interface ForeignKeyRow {
  id: number;
  seq: number;
  table: string;
  from: string;
  to: string | null;
  on_update: string;
  on_delete: string;
}

function readForeignKeys(db: Database.Database, table: string, parsed: TableSql | null): SourceForeignKey[] {
  const rows = db
    .prepare<[], ForeignKeyRow>(
      `SELECT * FROM pragma_foreign_key_list(${literal(table)}) ORDER BY id DESC, seq`,
    )
    .all();
  // The pragma numbers the keys from the last one declared.
  const ids = [...new Set(rows.map((row) => row.id))];
  return ids.map((id, place) => {
    const parts = rows.filter((row) => row.id === id);
    const first = parts[0]!;
    const to = parts.map((part) => part.to);
    const written = parsed?.foreignKeys.length === ids.length ? parsed.foreignKeys[place] : undefined;
    return {
      ...(written?.name === undefined ? {} : { name: written.name }),
      columns: parts.map((part) => part.from),
      parent: first.table,
      parentColumns: to.every((name) => name !== null) ? to : null,
      onDelete: first.on_delete,
      onUpdate: first.on_update,
      deferred: written?.deferred === true,
    };
  });
}

/** Every unique index and constraint of a table, the primary key included, the rowid only where it has a name. */
export function uniqueIndexesOf(db: Database.Database, table: string): UniqueIndex[] {
  const uniques: UniqueIndex[] = readIndexes(db, table)
    .filter((index) => index.unique)
    .map(({ name, terms, predicate, plain }) => ({
      name,
      terms,
      plain,
      ...(predicate === undefined ? {} : { predicate }),
    }));
  const key = db
    .prepare<[], { name: string }>(`SELECT name FROM pragma_table_xinfo(${literal(table)}) WHERE pk > 0`)
    .all();
  const indexed = db
    .prepare<[], { n: number }>(
      `SELECT count(*) AS n FROM pragma_index_list(${literal(table)}) WHERE origin = 'pk'`,
    )
    .get()!.n;
  if (key.length === 1 && indexed === 0) {
    const terms = [{ column: key[0]!.name, collation: 'BINARY', descending: false }];
    uniques.unshift({ name: '', terms, plain: true });
  }
  return uniques;
}
