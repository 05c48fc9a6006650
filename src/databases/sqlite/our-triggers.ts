/** The triggers in a source that are ours, told from the application's by their names. */
import type Database from 'better-sqlite3';
import { SQLITE_PREFIX } from '../../protocol.ts';
import { literal, quoted } from '../identifiers.ts';
import { masterOf } from './origin.ts';

/** SQL literal that our names are LIKE, with `ESCAPE '\\'`. */
export const OURS = literal(`${SQLITE_PREFIX.replaceAll('_', '\\_')}%`);

export interface Trigger {
  name: string;
  sql: string;
}

/** Our triggers as they stand; compared with what capture created, to notice a rebuilt table. */
export function ourTriggers(db: Database.Database): (Trigger & { table: string; rowid: number })[] {
  return db
    .prepare(
      `SELECT name, sql, tbl_name AS "table", rowid FROM ${masterOf(db)}
        WHERE type = 'trigger' AND name LIKE ${OURS} ESCAPE '\\' ORDER BY name`,
    )
    .all() as (Trigger & { table: string; rowid: number })[];
}

export function dropTriggers(db: Database.Database, triggers: Trigger[]): void {
  for (const { name } of triggers) db.exec(`DROP TRIGGER ${quoted(name)}`);
}
