/** Rows of the target that break a foreign key, as a person finds them in either database. */
import type pg from 'pg';
import type { ForeignKeyPlan, TablePlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { sqliteValue } from '../databases/postgres/copy-text.ts';
import { qualified, targetKey, targetTable } from '../databases/postgres/names.ts';
import { readableValue } from '../databases/sqlite/readable.ts';
import { named } from './findings.ts';

/** Keys that are told of the rows found. */
const KEYS = 5;

/** How many rows break the key, and the keys of the first ones; null where none does any more. */
export async function orphansText(
  client: pg.Client,
  table: TablePlan,
  key: ForeignKeyPlan,
): Promise<string | null> {
  const ours = key.columns.map((name) => `t.${quoted(name)}`);
  const found = key.parentColumns.map((name, i) => `p.${quoted(name)} = ${ours[i]!}`).join(' AND ');
  const own = targetKey(table, 't');
  const { rows } = await client.query<{ count: string; key: string[] }>(
    `SELECT count(*) OVER () AS count, ARRAY[${own.map((column) => `${column}::text`).join(', ')}] AS key
       FROM ${targetTable(table)} t
      WHERE ${ours.map((column) => `${column} IS NOT NULL`).join(' AND ')}
        AND NOT EXISTS (SELECT 1 FROM ${qualified(key.parent)} p WHERE ${found})
      ORDER BY ${own.join(', ')} LIMIT ${KEYS}`,
  );
  const [first] = rows;
  if (first === undefined) return null;
  const count = Number(first.count);
  const keys = rows.map((row) => keyText(table, row.key)).join(', ');
  const which = `${count > rows.length ? 'first ' : ''}${rows.length === 1 ? 'key' : 'keys'} ${keys}`;
  return (
    `${count} ${count === 1 ? 'row' : 'rows'} of ${named(table.name)} refer by (${key.columns.join(', ')}) to rows of ` +
    `${named(key.parent)} that do not exist, ${which}`
  );
}

function keyText(table: TablePlan, texts: string[]): string {
  const values = table.key.map((name, i) => {
    const column = table.columns.find((candidate) => candidate.name === name)!;
    return readableValue(sqliteValue(texts[i]!, column));
  });
  return values.length === 1 ? values[0]! : `(${values.join(', ')})`;
}
