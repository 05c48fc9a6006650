/** Takes everything of ours out of a source. */
import type Database from 'better-sqlite3';
import {
  BATCH_TABLE,
  CONTROL_TABLE,
  LEASE_TABLE,
  LOG_TABLE,
  resumeTriggers,
  SUSPENDED_TABLE,
} from './control.ts';
import { NUMBERING_TABLE } from './numbering.ts';
import { dropTriggers, ourTriggers } from './our-triggers.ts';

/**
 * Removes every object of ours; runs inside the caller's write transaction. Triggers go before the control table,
 * without which they refuse every write.
 */
export function removeAll(db: Database.Database): void {
  resumeTriggers(db);
  dropTriggers(db, ourTriggers(db));
  for (const table of [
    LOG_TABLE,
    SUSPENDED_TABLE,
    NUMBERING_TABLE,
    LEASE_TABLE,
    BATCH_TABLE,
    CONTROL_TABLE,
  ]) {
    db.exec(`DROP TABLE IF EXISTS ${table}`);
  }
}
