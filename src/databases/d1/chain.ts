/**
 * Batches that change a D1 database follow one another in a chain: each carries its own name, and the name of the one
 * before as a condition. So a batch whose reply was lost is done once or never, however late it arrives, and the owner
 * of a batch learns which by reading the last name.
 *
 * D1 has no transaction across calls. What a step reads before it decides is therefore a condition of its batch: the
 * control rows always, the schema and the end of the log where the step looked at them.
 */
import { BATCH_TABLE, CONTROL_TABLE, LEASE_TABLE, LOG_TABLE, NOW_MS } from '../sqlite/control.ts';
import { literal } from '../identifiers.ts';
import { OURS } from '../sqlite/our-triggers.ts';
import type { Statement } from './client.ts';

/**
 * The batch that makes the chain has no link before it, and its conditions are true again when everything of ours has been
 * removed. So its time ends, by D1's clock, this many ms after its sender has looked; and the chain stays that long.
 */
const BEGINS_WITHIN_MS = 5_000;

/** Text of the failure of a condition. */
const CHANGED = 'crossfade: changed';

/** SQL of a statement that fails, and its batch with it, where the condition is not true. */
export function proveSql(condition: string): string {
  // A path that is none is an error at run time, and its text is in the message; RAISE exists in triggers only.
  return `SELECT CASE WHEN ${condition} THEN 1 ELSE json_extract('{}', ${literal(CHANGED)}) END`;
}

/** Did a batch fail because a condition was not true, or names a table that has gone meanwhile? */
export function isConflict(error: Error): boolean {
  return error.message.includes(CHANGED) || error.message.includes('no such table');
}

/** Texts by which D1 describes its state; the same SQL is read by a poll and compared by a batch. */
export interface OriginState {
  /** Names of our tables, a JSON array. */
  tables: string;
  /** Each a JSON text, null where its table is missing. */
  control: string | null;
  lease: string | null;
  batch: string | null;
  /** Greatest sequence number of the log; null where there is no log. */
  head: bigint | null;
  /** Unix milliseconds by D1's clock. */
  now: number;
}

export const TABLES_SQL =
  `(SELECT json_group_array(name) FROM (SELECT name FROM sqlite_master WHERE type = 'table' ` +
  `AND name LIKE ${OURS} ESCAPE '\\' ORDER BY name))`;

export const CONTROL_COLUMNS = [
  'id',
  'migration',
  'epoch',
  'state',
  'fence_token',
  'deadline',
  'applying',
  'read_percent',
  'dual_writes',
  'dual_write_timeout_ms',
  'open_token',
  'reverse_token',
  'reverse_before',
];

export const CONTROL_SQL = `(SELECT json_group_array(json_array(${CONTROL_COLUMNS.join(', ')})) FROM ${CONTROL_TABLE})`;

export const LEASE_SQL =
  `(SELECT json_group_array(json_array(role, epoch, ordinal, holder)) ` +
  `FROM (SELECT role, epoch, ordinal, holder FROM ${LEASE_TABLE} ORDER BY role))`;

export const BATCH_SQL = `(SELECT json_group_array(json_array(name, "rows", since)) FROM ${BATCH_TABLE})`;

export const HEAD_SQL = `(SELECT max(seq) FROM ${LOG_TABLE})`;

/** Every object with its SQL, in the order in which they were made. */
export const SCHEMA_SQL =
  `(SELECT json_group_array(json_array(type, name, tbl_name, sql)) ` +
  `FROM (SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid))`;

/** A few numbers that change with the schema, for polls. What rests on the schema compares all of it. */
export const DIGEST_SQL =
  `(SELECT json_array(count(*), sum(length(name) + ifnull(length(sql), 0)), sum(rowid), max(rowid), ` +
  `sum(rowid * length(name)), sum(ifnull(rootpage, 0))) FROM sqlite_master)`;

/**
 * The statements that prove a batch's conditions.
 * @param read what the step looked at besides the control rows
 * @param last does the batch remove the chain?
 */
export function conditions(
  state: OriginState,
  schema: string,
  read: { schema: boolean; head: boolean },
  last = false,
): Statement[] {
  const same: [string, string | null][] = [
    [TABLES_SQL, state.tables],
    [CONTROL_SQL, state.control],
    [LEASE_SQL, state.lease],
    [BATCH_SQL, state.batch],
    [SCHEMA_SQL, read.schema ? schema : null],
  ];
  const conditions = same.flatMap(([sql, text]): Statement[] =>
    // As a parameter, because a schema may be longer than D1's limit for a statement.
    text === null ? [] : [{ sql: proveSql(`${sql} = ?1`), params: [text] }],
  );
  if (read.head && state.head !== null) conditions.push({ sql: proveSql(`${HEAD_SQL} = ${state.head}`) });
  const link = linkOf(state.batch);
  if (link === null) conditions.push({ sql: proveSql(`${NOW_MS} < ${state.now + BEGINS_WITHIN_MS}`) });
  else if (last) conditions.push({ sql: proveSql(`${NOW_MS} >= ${link.since + BEGINS_WITHIN_MS}`) });
  return conditions;
}

/** How long the chain has to stay, ms: 0 where it may be removed, or where there is none. */
export function staysMs({ batch, now }: OriginState): number {
  const link = linkOf(batch);
  return link === null ? 0 : Math.max(0, link.since + BEGINS_WITHIN_MS - now);
}

/** Has the time ended of a batch that was to make the chain, which `now` has not? */
export function isTooLate(before: OriginState, now: OriginState): boolean {
  return before.batch === null && now.now >= before.now + BEGINS_WITHIN_MS;
}

interface Link {
  name: string;
  /** Batches that have changed rows of the application. */
  rows: number;
  /** When the chain was made, Unix milliseconds by D1's clock. */
  since: number;
}

/** What `BATCH_SQL` tells; null where there is no chain. */
export function linkOf(batch: string | null): Link | null {
  const [link] = batch === null ? [] : (JSON.parse(batch) as [string, number, number][]);
  return link === undefined ? null : { name: link[0], rows: link[1], since: link[2] };
}

/** Reverse of `linkOf`. */
export function batchText({ name, rows, since }: Link): string {
  return JSON.stringify([[name, rows, since]]);
}

/** Statements that add a batch to the chain; the first of them makes it. @param rows does it change rows of the application? */
export function chainSql(state: OriginState, name: string, rows: boolean): Statement[] {
  if (state.batch !== null)
    return [{ sql: `UPDATE ${BATCH_TABLE} SET name = ${literal(name)}, "rows" = "rows" + ${rows ? 1 : 0}` }];
  return [
    `CREATE TABLE ${BATCH_TABLE} (id INTEGER PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL, "rows" INTEGER NOT NULL, ` +
      `since INTEGER NOT NULL)`,
    `INSERT INTO ${BATCH_TABLE} VALUES (1, ${literal(name)}, ${rows ? 1 : 0}, ${NOW_MS})`,
  ].map((sql) => ({ sql }));
}
