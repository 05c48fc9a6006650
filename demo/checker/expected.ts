/**
 * What the database must hold: the generated rows, and every acknowledged write applied to them in order by plain SQL
 * on a copy of the generated database. SQLite itself follows its foreign keys and its REPLACE there, so that rows that
 * went with others are expected to be gone too.
 */
import Database from 'better-sqlite3';
import type { Effect, Values } from '../application/journal.ts';
import { SHAPES, shapeOf } from '../database/schema.ts';
import type { JournalContent } from './read-journal.ts';

/** A row's name: table and key. */
export function rowName(table: string, key: readonly unknown[]): string {
  return `${table} ${key.map(String).join('/')}`;
}

interface Touched {
  /** The last acknowledged write that changed the row. */
  n: number;
  primary: 'source' | 'target';
}

export interface Expected {
  /** Holds the expected rows in a transaction that is never committed. */
  db: Database.Database;
  /** Rows changed by acknowledged writes, those that are gone included. */
  touched: Map<string, Touched>;
  /** Rows that a write acknowledged by the target has ever changed. */
  touchedOnTarget: Set<string>;
  /** Acknowledged writes that cannot all have happened, such as one id given twice. */
  contradictions: string[];
  close(): void;
}

type Bound = string | number | null | Buffer;

function bound(value: Values[string]): Bound {
  return value !== null && typeof value === 'object' ? Buffer.from(value.hex, 'hex') : value;
}

/** @param baseline a copy of the generated database, which is left as it is */
export function buildExpected(baseline: string, journal: JournalContent): Expected {
  const db = new Database(baseline, { fileMustExist: true });
  db.pragma('foreign_keys = ON');
  // REPLACE fires delete triggers only with this.
  db.pragma('recursive_triggers = ON');
  db.exec('BEGIN IMMEDIATE; CREATE TEMP TABLE gone (name TEXT)');
  for (const { name, key } of SHAPES) {
    const rowKey = key.map((column) => `OLD.${column}`).join(` || '/' || `);
    db.exec(
      `CREATE TEMP TRIGGER gone_${name} AFTER DELETE ON main.${name} BEGIN
         INSERT INTO gone VALUES ('${name} ' || ${rowKey});
       END`,
    );
  }

  const touched = new Map<string, Touched>();
  const touchedOnTarget = new Set<string>();
  const contradictions: string[] = [];
  const takeGone = db.prepare(`DELETE FROM gone RETURNING name`).pluck();
  for (const { n, primary, returned } of journal.acknowledged) {
    const attempt = journal.attempts.get(n);
    if (attempt === undefined) throw new Error(`the journal has no attempt ${n}`);
    for (const [i, effect] of attempt.effects.entries()) {
      let changed: string | null = null;
      try {
        changed = apply(db, effect, returned[i] ?? null);
        if (changed === null) {
          contradictions.push(`write ${n} (${attempt.operation}) changed a row that is not there`);
        }
      } catch (error) {
        if (!String((error as { code?: unknown }).code).startsWith('SQLITE_CONSTRAINT')) throw error;
        contradictions.push(`write ${n} (${attempt.operation}): ${(error as Error).message}`);
      }
      for (const name of [...(takeGone.all() as string[]), ...(changed === null ? [] : [changed])]) {
        touched.set(name, { n, primary });
        if (primary === 'target') touchedOnTarget.add(name);
      }
    }
  }
  const close = (): void => {
    db.exec('ROLLBACK');
    db.close();
  };
  return { db, touched, touchedOnTarget, contradictions, close };
}

/** Applies one effect; returns the row's name, null where an update or delete found no row. */
function apply(db: Database.Database, effect: Effect, returned: Values | null): string | null {
  const { key } = shapeOf(effect.table);
  const where = key.map((column) => `${column} = ?`).join(' AND ');
  if (effect.kind === 'delete') {
    const { changes } = db.prepare(`DELETE FROM ${effect.table} WHERE ${where}`).run(effect.key);
    return changes === 1 ? rowName(effect.table, effect.key) : null;
  }
  if (effect.kind === 'update') {
    const set = Object.entries(effect.set ?? {});
    const add = Object.entries(effect.add ?? {});
    const assignments = [...set.map(([c]) => `${c} = ?`), ...add.map(([c]) => `${c} = ${c} + ?`)].join(', ');
    const values = [...set.map(([, value]) => bound(value)), ...add.map(([, value]) => value)];
    const sql = `UPDATE ${effect.table} SET ${assignments} WHERE ${where}`;
    const { changes } = db.prepare(sql).run([...values, ...effect.key]);
    return changes === 1 ? rowName(effect.table, effect.key) : null;
  }
  const values = { ...effect.values, ...returned };
  const columns = Object.keys(values);
  const verb = effect.kind === 'replace' ? 'INSERT OR REPLACE' : 'INSERT';
  let sql = `${verb} INTO ${effect.table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`;
  if (effect.kind === 'upsert') {
    const rest = columns.filter((column) => !key.includes(column));
    sql += ` ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${rest.map((c) => `${c} = excluded.${c}`).join(', ')}`;
  }
  db.prepare(sql).run(Object.values(values).map(bound));
  const keyValues = key.map((column) => values[column]);
  return keyValues.some((value) => value === undefined) ? null : rowName(effect.table, keyValues);
}
