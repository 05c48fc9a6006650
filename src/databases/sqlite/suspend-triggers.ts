/** Puts the application's triggers aside while rows come back by replay; `resumeTriggers` in control.ts creates them again. */
import type Database from 'better-sqlite3';
import type { TablePlan } from '../../contract.ts';
import { asciiLower, quoted } from '../identifiers.ts';
import { SUSPENDED_TABLE } from './control.ts';
import { masterOf } from './origin.ts';
import { OURS, type Trigger } from './our-triggers.ts';

/** Moves the application's triggers on these tables into our own table: they must not fire on replayed rows. */
export function suspendTriggers(db: Database.Database, tables: TablePlan[]): void {
  const save = db.prepare(`INSERT OR REPLACE INTO ${SUSPENDED_TABLE} (name, sql) VALUES (?, ?)`);
  const names = new Set(tables.map((table) => asciiLower(table.name)));
  const triggers = db
    .prepare(
      `SELECT name, sql, tbl_name FROM ${masterOf(db)} WHERE type = 'trigger' AND name NOT LIKE ${OURS} ESCAPE '\\'`,
    )
    .all() as (Trigger & { tbl_name: string })[];
  for (const trigger of triggers) {
    if (!names.has(asciiLower(trigger.tbl_name))) continue;
    save.run(trigger.name, trigger.sql);
    db.exec(`DROP TRIGGER ${quoted(trigger.name)}`);
  }
}
