/** The triggers on the target's tables: the fence, there from the start, and the reverse capture, there from the cutover on. */
import type { TablePlan } from '../../contract.ts';
import { FENCE_LOCK_KEY, LEASE_SETTING } from '../../protocol.ts';
import { literal, quoted } from '../identifiers.ts';
import { nameOnTarget, targetKey, targetTable } from './names.ts';

/** Sorts before letters: PostgreSQL fires triggers of one kind in the order of their names. */
const FENCE = '!crossfade_fence';
const FENCE_TRUNCATE = '!crossfade_fence_truncate';
/** Sorts after ASCII: capture sees what the application's own triggers left. */
const CAPTURE = '~crossfade_capture';
const CAPTURE_TRUNCATE = '~crossfade_capture_truncate';

/** All triggers that a table has while the target is primary. */
export const TRIGGER_NAMES = [FENCE, FENCE_TRUNCATE, CAPTURE, CAPTURE_TRUNCATE];

/** ENABLE ALWAYS, because the applier acts as a replica, for which ordinary triggers do not fire. */
function create(table: TablePlan, name: string, event: string, call: string): string[] {
  const on = targetTable(table);
  return [
    // Replaced, not dropped: that would keep readers out.
    `CREATE OR REPLACE TRIGGER ${quoted(name)} ${event.replace('{table}', on)} EXECUTE FUNCTION ${call}`,
    `ALTER TABLE ${on} ENABLE ALWAYS TRIGGER ${quoted(name)}`,
  ];
}

/** Fences one table. Statement triggers: an UPDATE that matches no row is refused as well. */
export function installFenceSql(table: TablePlan): string[] {
  return [
    ...create(
      table,
      FENCE,
      'BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH STATEMENT',
      'crossfade.fence()',
    ),
    ...create(table, FENCE_TRUNCATE, 'BEFORE TRUNCATE ON {table} FOR EACH STATEMENT', 'crossfade.fence()'),
  ];
}

/**
 * An id that the application chose itself moves the identity's sequence on, as SQLite counts on from the greatest id.
 * The lock keeps two sessions from moving it back. It is given back at once, also where the statement is cancelled: held to
 * the end of the transaction it would let only one session at a time choose ids.
 */
function advanceSequenceSql(table: TablePlan): string {
  const identity = table.columns.find((column) => column.identity);
  if (identity === undefined) return '';
  const id = `NEW.${quoted(nameOnTarget(identity))}`;
  const sequence = `pg_get_serial_sequence(${literal(targetTable(table))}, ${literal(nameOnTarget(identity))})::regclass`;
  const lock = BigInt(FENCE_LOCK_KEY) + BigInt(table.id);
  const isAhead = `${id} > coalesce(pg_sequence_last_value(${sequence}), 0)`;
  return `
       IF TG_OP <> 'DELETE' AND ${isAhead} THEN
         PERFORM pg_advisory_lock(${lock});
         BEGIN
           IF ${isAhead} THEN PERFORM setval(${sequence}, ${id}); END IF;
         EXCEPTION WHEN query_canceled OR OTHERS THEN
           PERFORM pg_advisory_unlock(${lock});
           RAISE;
         END;
         PERFORM pg_advisory_unlock(${lock});
       END IF;`;
}

/** Logs the keys of every changed row of one table. Rows of the applier are not logged: its setting names a lease. */
export function installCaptureSql(table: TablePlan): string[] {
  const capture = quoted(`capture_${table.id}`);
  const key = (row: string): string =>
    `ARRAY[${targetKey(table, row)
      .map((name) => `${name}::text`)
      .join(', ')}]`;
  const tuple = (row: string): string => `(${targetKey(table, row).join(', ')})`;
  const notApplier = `WHEN (coalesce(current_setting(${literal(LEASE_SETTING)}, true), '') = '')`;
  return [
    // The settings make a key's text the same whatever the application's session says.
    `CREATE OR REPLACE FUNCTION crossfade.${capture}() RETURNS trigger
     LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
     SET DateStyle = 'ISO, YMD' SET bytea_output = 'hex' SET extra_float_digits = 3 AS $capture$
     BEGIN
       IF TG_OP = 'TRUNCATE' THEN
         INSERT INTO crossfade.log (table_id, key) VALUES (${table.id}, NULL);
         RETURN NULL;
       END IF;
       IF TG_OP <> 'INSERT' THEN
         INSERT INTO crossfade.log (table_id, key) VALUES (${table.id}, ${key('OLD')});
       END IF;
       IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND ${tuple('NEW')} IS DISTINCT FROM ${tuple('OLD')} THEN
         INSERT INTO crossfade.log (table_id, key) VALUES (${table.id}, ${key('NEW')});
       END IF;${advanceSequenceSql(table)}
       RETURN NULL;
     END $capture$`,
    ...create(
      table,
      CAPTURE,
      `AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW ${notApplier}`,
      `crossfade.${capture}()`,
    ),
    ...create(
      table,
      CAPTURE_TRUNCATE,
      `AFTER TRUNCATE ON {table} FOR EACH STATEMENT ${notApplier}`,
      `crossfade.${capture}()`,
    ),
  ];
}

/** Removes both kinds from one table. */
export function removeTriggersSql(table: TablePlan): string[] {
  return TRIGGER_NAMES.map((name) => `DROP TRIGGER IF EXISTS ${quoted(name)} ON ${targetTable(table)}`);
}
