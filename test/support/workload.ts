/** Random writes that collide on unique values, as hard on capture and replay as SQLite allows. */
import type Database from 'better-sqlite3';
import type { Random } from './random.ts';

/** How a table is attacked: its columns with the few values that each may take, as SQL literals. */
export interface Target {
  table: string;
  columns: Record<string, readonly string[]>;
  /** May `rowid` be given? Another name where a column hides it. */
  rowid?: string;
}

const RESOLUTIONS = ['', ' OR REPLACE', ' OR REPLACE', ' OR IGNORE', ' OR FAIL'];

/** One statement. */
export function statement(random: Random, target: Target): string {
  const names = Object.keys(target.columns);
  const value = (name: string): string => random.pick(target.columns[name]!);
  const where = (): string => {
    const name = random.pick(names);
    return random.chance(0.1) ? '' : ` WHERE ${name} IS ${value(name)}`;
  };
  const assignments = (): string => {
    const chosen = names.filter(() => random.chance(0.4));
    if (chosen.length === 0) chosen.push(random.pick(names));
    const set = chosen.map((name) => `${name} = ${value(name)}`);
    if (target.rowid !== undefined && random.chance(0.15)) set.push(`${target.rowid} = ${random.below(9)}`);
    return set.join(', ');
  };
  const kind = random.next();
  if (kind < 0.12) return `DELETE FROM ${target.table}${where()}`;
  if (kind < 0.45) {
    return `UPDATE${random.pick(RESOLUTIONS)} ${target.table} SET ${assignments()}${where()}`;
  }
  const into = [...names];
  const rows = Array.from({ length: 1 + random.below(3) }, () => into.map(value));
  if (target.rowid !== undefined && random.chance(0.3)) {
    into.push(target.rowid);
    for (const row of rows) row.push(String(random.below(9)));
  }
  const values = rows.map((row) => `(${row.join(', ')})`).join(', ');
  const insert = `INTO ${target.table} (${into.join(', ')}) VALUES ${values}`;
  if (kind < 0.6) return `INSERT ${insert} ON CONFLICT DO UPDATE SET ${assignments()}`;
  return `INSERT${random.pick(RESOLUTIONS)} ${insert}`;
}

/** Runs `count` statements, some in transactions and savepoints, some of them undone. Refusals are part of the game. */
export function attack(db: Database.Database, random: Random, targets: Target[], count: number): void {
  const run = (sql: string): void => {
    try {
      db.exec(sql);
    } catch (error) {
      // SQLITE_MISMATCH: a rowid set to NULL.
      // By its code: jest gives each suite its own realm, and the driver's class belongs to the first.
      const code = String((error as { code?: unknown }).code);
      if (!/^SQLITE_(CONSTRAINT|MISMATCH)/.test(code)) throw error;
    }
  };
  for (let i = 0; i < count; i++) {
    if (!db.inTransaction && random.chance(0.1)) db.exec('BEGIN');
    const savepoint = random.chance(0.1);
    if (savepoint) db.exec('SAVEPOINT s');
    run(statement(random, random.pick(targets)));
    if (savepoint) {
      run(statement(random, random.pick(targets)));
      // Outside a transaction RELEASE commits.
      if (random.chance(0.5)) db.exec('ROLLBACK TO s');
      db.exec('RELEASE s');
    }
    if (db.inTransaction && random.chance(0.3)) db.exec(random.chance(0.3) ? 'ROLLBACK' : 'COMMIT');
  }
  if (db.inTransaction) db.exec('COMMIT');
}
