/** The fence: triggers that refuse every write while the control row says that this database is not to take any. */
import type Database from 'better-sqlite3';
import type { TablePlan } from '../../contract.ts';
import { SQLITE_PREFIX } from '../../protocol.ts';
import { quoted } from '../identifiers.ts';
import { REFUSES } from './control.ts';
import { dropTriggers, ourTriggers } from './our-triggers.ts';

const FENCED_EVENTS = ['INSERT', 'UPDATE', 'DELETE'];

/**
 * The fence's triggers, created in the transaction that sets the control row to `fencing`: then no write pays for them
 * before, and as the newest triggers they run before any other.
 */
export function installFence(db: Database.Database, tables: TablePlan[]): void {
  for (const table of tables) {
    for (const event of FENCED_EVENTS) {
      const name = fenceName(table, event);
      db.exec(`DROP TRIGGER IF EXISTS ${quoted(name)}`);
      db.exec(
        `CREATE TRIGGER ${quoted(name)} BEFORE ${event} ON ${quoted(table.name)} FOR EACH ROW BEGIN ` +
          `SELECT RAISE(ABORT, 'crossfade: fenced') WHERE ${REFUSES} IS NOT 0; END`,
      );
    }
  }
}

/** Those of the tables in the file that DDL has robbed of a trigger of the fence. */
export function unfencedTables(db: Database.Database, tables: TablePlan[]): TablePlan[] {
  const present = new Set(ourTriggers(db).map(({ name }) => name));
  const exists = db.prepare(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE`);
  return tables.filter(
    (table) =>
      exists.get(table.name) !== undefined &&
      FENCED_EVENTS.some((event) => !present.has(fenceName(table, event))),
  );
}

function fenceName(table: TablePlan, event: string): string {
  return `${SQLITE_PREFIX}${table.id}_fence_${event.toLowerCase()}`;
}

export function dropFence(db: Database.Database): void {
  dropTriggers(db, ourTriggers(db).filter(isFence));
}

export function isFence(trigger: { name: string }): boolean {
  return /_fence_(insert|update|delete)$/.test(trigger.name);
}
