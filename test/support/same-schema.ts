/**
 * Compares what the two databases promise: NOT NULL, keys, unique indexes, foreign keys and numbering, read from SQLite's
 * pragmas and PostgreSQL's catalogs. Shares nothing with the engine; of the plan it takes the names on the target.
 */
import type Database from 'better-sqlite3';
import type pg from 'pg';
import type { Plan } from '../../src/contract.ts';
import { quote, sourceTables, targetName } from './same.ts';

/** Differences, each with its table; empty where both promise the same. */
export async function schemaDifferences(
  db: Database.Database,
  client: pg.Client,
  plan: Plan,
): Promise<string[]> {
  const found: string[] = [];
  const expected = new Set<string>();
  for (const name of sourceTables(db).keys()) {
    const planned = plan.tables.find((table) => table.name === name);
    const columns = [...(planned?.columns ?? []), ...(planned?.generated ?? [])];
    const there = targetName(planned === undefined ? [] : [planned], name);
    expected.add(there);
    const subject: Subject = {
      db,
      client,
      name,
      there,
      column: (of) => targetName(columns, of),
      // The row number of a table without a key is ours.
      numbered: planned?.rowNumbered === true,
    };
    const say = (what: string): string => `${name}: ${what}`;
    found.push(...(await nullDifferences(subject)).map(say));
    found.push(...(await uniqueDifferences(subject)).map(say));
    found.push(...(await numberingDifferences(subject)).map(say));
    found.push(...(await foreignKeyDifferences(subject, plan)).map(say));
  }
  const { rows } = await client.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')`,
  );
  const present = rows.map(({ name }) => name);
  found.push(...present.filter((name) => !expected.has(name)).map((name) => `${name}: only on the target`));
  return found;
}

interface Subject {
  db: Database.Database;
  client: pg.Client;
  name: string;
  there: string;
  /** The name on the target of a column. */
  column(name: string): string;
  numbered: boolean;
}

/** The two lists, each sorted, where they are not the same. */
function compared(what: string, source: string[], target: string[]): string[] {
  const [a, b] = [source.sort().join(' · '), target.sort().join(' · ')];
  return a === b ? [] : [`${what}: ${a} in the source, ${b} on the target`];
}

async function nullDifferences({ db, client, name, there, column }: Subject): Promise<string[]> {
  // A primary key is NOT NULL on PostgreSQL; where SQLite allows NULL in it, the plan has counted none.
  const source = db
    .prepare(`SELECT name FROM pragma_table_xinfo(?) WHERE "notnull" = 1 OR pk > 0`)
    .pluck()
    .all(name) as string[];
  const { rows } = await client.query<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND attnotnull
       AND attname <> '_crossfade_rowid'`,
    [`public.${quote(there)}`],
  );
  return compared(
    'NOT NULL',
    source.map(column),
    rows.map((row) => row.name),
  );
}

interface UniqueIndex {
  name: string;
  origin: string;
  partial: number;
}

/** What is over an expression on either side, or on the target over lower(…) or rtrim(…) for a collation, has no name here. */
const EXPRESSION = '(expression)';

async function uniqueDifferences({ db, client, name, there, column, numbered }: Subject): Promise<string[]> {
  const relation = `public.${quote(there)}`;
  const texts = await client.query<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute WHERE attrelid = $1::regclass AND atttypid IN ('text'::regtype, 'varchar'::regtype)`,
    [relation],
  );
  const isText = (of: string): boolean => texts.rows.some((row) => row.name === column(of));
  const indexes = db
    .prepare(`SELECT name, origin, partial FROM pragma_index_list(?) WHERE "unique" = 1`)
    .all(name) as UniqueIndex[];
  // What is unique but for its case is unique by its bytes, which a key on the target has to be.
  const implied = new Set<string>();
  const source = indexes.map((index) => {
    const terms = db
      .prepare(`SELECT name, coll FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno`)
      .all(index.name) as { name: string | null; coll: string }[];
    const named = (folded: boolean): string => {
      const names = terms.map((term) =>
        term.name === null || (folded && term.coll !== 'BINARY' && isText(term.name))
          ? EXPRESSION
          : column(term.name),
      );
      return `${names.join(', ')}${index.partial === 1 ? ' where' : ''}`;
    };
    implied.add(named(false));
    return named(true);
  });
  const key = db.prepare(`SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0`).pluck().all(name) as string[];
  if (key.length === 1 && !indexes.some(({ origin }) => origin === 'pk')) source.push(column(key[0]!));
  if (numbered) source.push('_crossfade_rowid');
  const { rows } = await client.query<{ terms: (string | null)[]; partial: boolean; valid: boolean }>(
    `SELECT array_agg(a.attname ORDER BY k.place)::text[] AS terms, i.indpred IS NOT NULL AS partial, i.indisvalid AS valid
       FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
       LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
      WHERE i.indrelid = $1::regclass AND i.indisunique GROUP BY i.indexrelid, i.indpred, i.indisvalid`,
    [relation],
  );
  const target = rows.map(
    ({ terms, partial, valid }) =>
      `${terms.map((term) => term ?? EXPRESSION).join(', ')}${partial ? ' where' : ''}${valid ? '' : ' (not valid)'}`,
  );
  // Two indexes over the same columns forbid no more than one.
  const distinct = (names: string[]): string[] => [...new Set(names)];
  const asked = target.filter((terms) => source.includes(terms) || !implied.has(terms));
  return compared('unique', distinct(source), distinct(asked));
}

/** The next number must be one that neither a row nor sqlite_sequence has had. */
async function numberingDifferences({ db, client, name, there, numbered }: Subject): Promise<string[]> {
  const { rows } = await client.query<{ name: string; next: string }>(
    `SELECT attname AS name, (SELECT CASE WHEN last IS NULL THEN seqstart ELSE last::numeric + seqincrement END
              FROM pg_sequence, pg_sequence_last_value(seqrelid) last
             WHERE seqrelid = pg_get_serial_sequence($1, attname)::regclass)::text AS next
       FROM pg_attribute WHERE attrelid = $1::regclass AND attidentity <> ''`,
    [`public.${quote(there)}`],
  );
  const key = db.prepare(`SELECT name, type FROM pragma_table_xinfo(?) WHERE pk > 0`).all(name) as {
    name: string;
    type: string;
  }[];
  const backed = db
    .prepare(`SELECT count(*) FROM pragma_index_list(?) WHERE origin = 'pk'`)
    .pluck()
    .get(name) as number;
  const alias = key.length === 1 && backed === 0;
  if (!alias && !numbered)
    return rows.length === 0 ? [] : [`column ${rows[0]!.name} is numbered by the target only`];
  if (rows.length !== 1) return [`${rows.length} columns are numbered on the target, not one`];
  if (numbered) return [];
  const used = db
    .prepare(`SELECT coalesce(max(${quote(key[0]!.name)}), 0) FROM ${quote(name)}`)
    .pluck()
    .safeIntegers()
    .get() as bigint;
  const counted = db
    .prepare(`SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'`)
    .pluck()
    .get() as number;
  const given =
    counted === 0
      ? undefined
      : db.prepare('SELECT max(seq) FROM sqlite_sequence WHERE name = ?').pluck().safeIntegers().get(name);
  const next = BigInt(rows[0]!.next);
  const least = [used, typeof given === 'bigint' ? given : 0n].reduce((a, b) => (a > b ? a : b));
  return next > least ? [] : [`the next number is ${next}, and ${least} has been given out`];
}

interface ForeignKeyRow {
  id: number;
  table: string;
  from: string;
  to: string | null;
  on_update: string;
  on_delete: string;
}

const ACTIONS: Record<string, string> = {
  a: 'NO ACTION',
  r: 'RESTRICT',
  c: 'CASCADE',
  n: 'SET NULL',
  d: 'SET DEFAULT',
};

async function foreignKeyDifferences(
  { db, client, name, there, column }: Subject,
  plan: Plan,
): Promise<string[]> {
  const parts = db
    .prepare(
      'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) ORDER BY id, seq',
    )
    .all(name) as ForeignKeyRow[];
  const source = [...new Set(parts.map(({ id }) => id))].map((id) => {
    const of = parts.filter((part) => part.id === id);
    const { table, on_delete, on_update } = of[0]!;
    const same = (other: string): boolean => other.toLowerCase() === table.toLowerCase();
    const parent = [...sourceTables(db).keys()].find(same) ?? table;
    const planned = plan.tables.find((candidate) => candidate.name === parent);
    const theirs = db
      .prepare('SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk')
      .pluck()
      .all(parent) as string[];
    const spelled = (of: string, column: string): string =>
      (db
        .prepare('SELECT name FROM pragma_table_xinfo(?) WHERE name = ? COLLATE NOCASE')
        .pluck()
        .get(of, column) as string | undefined) ?? column;
    const from = of.map((part) => column(spelled(name, part.from)));
    const to = of.map((part, i) =>
      targetName(planned?.columns ?? [], spelled(parent, part.to ?? theirs[i] ?? '?')),
    );
    return `(${from.join(', ')}) to ${targetName(planned === undefined ? [] : [planned], parent)} (${to.join(', ')}) ${on_delete} ${on_update} true`;
  });
  const { rows } = await client.query<{
    from: string[];
    parent: string;
    to: string[];
    d: string;
    u: string;
    valid: boolean;
  }>(
    `SELECT (SELECT array_agg(attname ORDER BY place)::text[] FROM unnest(conkey) WITH ORDINALITY k(n, place)
              JOIN pg_attribute ON attrelid = conrelid AND attnum = n) AS "from",
            (SELECT array_agg(attname ORDER BY place)::text[] FROM unnest(confkey) WITH ORDINALITY k(n, place)
              JOIN pg_attribute ON attrelid = confrelid AND attnum = n) AS "to",
            (SELECT relname FROM pg_class p WHERE p.oid = confrelid) AS parent, confdeltype AS d, confupdtype AS u,
            convalidated AS valid
       FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'f'`,
    [`public.${quote(there)}`],
  );
  const target = rows.map(
    ({ from, parent, to, d, u, valid }) =>
      `(${from.join(', ')}) to ${parent} (${to.join(', ')}) ${ACTIONS[d]} ${ACTIONS[u]} ${valid}`,
  );
  return compared('foreign keys', source, target);
}
