/** Notes what a connection to a mirror changes, as statements for the origin, and what it looked at to decide so. */
import type Database from 'better-sqlite3';
import { CONTROL_TABLE, LEASE_TABLE, LOG_TABLE } from '../sqlite/control.ts';
import { MASTER_TABLE } from '../sqlite/origin.ts';
import { tokenize } from '../sqlite/tokens.ts';
import type { KeyValue } from '../key.ts';
import { exactSql } from './cells.ts';
import { proveSql } from './chain.ts';
import type { Statement } from './client.ts';

export interface Recording {
  /** For the origin, in order. */
  statements: Statement[];
  /** Was the schema looked at, or the end of the change log? */
  read: { schema: boolean; head: boolean };
}

type Method = 'run' | 'get' | 'all';

const SCHEMA = new RegExp(`\\bsqlite_master\\b|\\bpragma_|\\b${MASTER_TABLE}\\b`, 'i');
const LOG = new RegExp(`\\b${LOG_TABLE}\\b`);
/** Whether such a statement finds its row depends on the state, and on the clock of the database that runs it. */
const COUNTED = new RegExp(`^\\s*(?:UPDATE|DELETE FROM|INSERT INTO) (?:${CONTROL_TABLE}|${LEASE_TABLE})\\b`);
/** A mirror has no triggers, and of the log what the origin has: its rows have random tokens. */
const ORIGIN_ONLY = new RegExp(`^\\s*(?:(?:CREATE|DROP) TRIGGER\\b|INSERT INTO ${LOG_TABLE}\\b)`, 'i');
const TRIMMING = new RegExp(`^\\s*DELETE FROM ${LOG_TABLE}\\b`);
/** Temporary tables are the connection's own. */
const LOCAL_ONLY = /\btemp\./i;

const recordings = new WeakMap<Database.Database, Recording>();

/** Notes from here on what runs between `beginRecording` and its end. Once for a connection, before anything is prepared. */
export function makeRecordable(db: Database.Database): void {
  const prepare = db.prepare.bind(db);
  const exec = db.exec.bind(db);
  db.prepare = ((sql: string) => {
    const statement = prepare(sql) as Database.Statement<unknown[]>;
    for (const method of ['run', 'get', 'all'] as Method[]) {
      const original = statement[method].bind(statement) as (...values: unknown[]) => unknown;
      statement[method] = ((...values: unknown[]) =>
        noted(db, sql, values, () => original(...values))) as never;
    }
    return statement;
  }) as typeof db.prepare;
  db.exec = (sql: string) => {
    noted(db, sql, [], () => exec(sql));
    return db;
  };
}

/** Runs `work` and notes what it does. */
export function recorded<T>(db: Database.Database, work: () => T): { result: T; recording: Recording } {
  const recording: Recording = { statements: [], read: { schema: false, head: false } };
  recordings.set(db, recording);
  try {
    return { result: work(), recording };
  } finally {
    recordings.delete(db);
  }
}

/** Adds statements for the origin that do there what `work` does to the mirror in another way. */
export function addForOrigin(db: Database.Database, statements: Statement[]): void {
  const recording = recordings.get(db);
  for (const statement of statements) recording?.statements.push(statement);
}

/** Runs a part of the work that the origin is told about in another way, by `addForOrigin`. */
export function unrecorded<T>(db: Database.Database, work: () => T): T {
  const recording = recordings.get(db);
  recordings.delete(db);
  try {
    return work();
  } finally {
    if (recording !== undefined) recordings.set(db, recording);
  }
}

function noted(db: Database.Database, sql: string, values: unknown[], run: () => unknown): unknown {
  const recording = recordings.get(db);
  if (recording === undefined || LOCAL_ONLY.test(sql)) return run();
  if (SCHEMA.test(sql)) recording.read.schema = true;
  if (/^\s*(?:SELECT|WITH|EXPLAIN|PRAGMA)\b/i.test(sql)) {
    if (LOG.test(sql)) recording.read.head = true;
    return run();
  }
  if (ORIGIN_ONLY.test(sql)) {
    recording.statements.push({ sql: inlined(sql, values) });
    return { changes: 1, lastInsertRowid: 0 };
  }
  const done = run();
  // A trimming that finds nothing is no reason for a request.
  if (TRIMMING.test(sql) && (done as Database.RunResult).changes === 0) return done;
  recording.statements.push({ sql: inlined(sql, values) });
  if (COUNTED.test(sql) && values.length > 0)
    recording.statements.push({ sql: proveSql(`changes() = ${(done as Database.RunResult).changes}`) });
  return done;
}

/** The statement with its parameters' values in place of the marks. */
function inlined(sql: string, values: unknown[]): string {
  if (values.length === 0) return sql;
  let text = '';
  let at = 0;
  let next = 0;
  for (const token of tokenize(sql) ?? []) {
    if (token.kind !== 'variable') continue;
    text += sql.slice(at, token.start) + valueSql(values[next++], LOG.test(sql));
    at = token.end;
  }
  return text + sql.slice(at);
}

/** Whole numbers of control rows are integers; only keys in the log have a storage class that matters. */
function valueSql(value: unknown, isKey: boolean): string {
  if (typeof value === 'number' && Number.isInteger(value) && !isKey) return String(value);
  return exactSql(value as KeyValue);
}
