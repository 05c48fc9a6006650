/**
 * Capture: triggers that log the key of every row that changes. Only keys, so that a new column or a changed type
 * cannot make them wrong; replay reads the current rows.
 *
 * REPLACE deletes rows without firing delete triggers, so BEFORE triggers also log the keys of the rows that hold one
 * of NEW's unique values (https://sqlite.org/lang_conflict.html). The log has no constraint that an outer OR IGNORE
 * or OR REPLACE could turn against it.
 */
import type Database from 'better-sqlite3';
import type { TablePlan } from '../../contract.ts';
import { CrossfadeError } from '../../errors.ts';
import { SQLITE_PREFIX } from '../../protocol.ts';
import { literal, quoted } from '../identifiers.ts';
import { affinityOf } from './affinity.ts';
import { LOG_TABLE } from './control.ts';
import { isFence } from './fence.ts';
import { installNumbering } from './numbering.ts';
import { masterOf } from './origin.ts';
import { dropTriggers, OURS, ourTriggers, type Trigger } from './our-triggers.ts';
import { rowidOf } from './rowid.ts';
import { generatedColumnsOf, uniqueIndexesOf, type UniqueIndex } from './schema.ts';

type Reference = (column: string) => string;

/** What capture has to know of a table's constraints. */
export interface Uniqueness {
  indexes: UniqueIndex[];
  /** Defaults of NOT NULL columns: REPLACE puts them in place of NULL, after the BEFORE triggers have run. */
  defaults: Map<string, string>;
  /** Generated columns, each after those that its expression may refer to. */
  generated: { name: string; expression: string }[];
}

/** A default that is a literal; another expression is not sure to mean the same inside a trigger. */
const LITERAL = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|'(?:[^']|'')*'|x'(?:[0-9a-f]{2})*')$/i;

export function uniquenessOf(db: Database.Database, table: string): Uniqueness {
  const rows = db
    .prepare(
      `SELECT name, dflt_value FROM pragma_table_xinfo(${literal(table)}) WHERE "notnull" = 1 AND dflt_value IS NOT NULL`,
    )
    .raw()
    .all() as [string, string][];
  return {
    indexes: uniqueIndexesOf(db, table),
    defaults: new Map(rows.filter(([, value]) => LITERAL.test(value))),
    generated: generatedColumnsOf(db, table),
  };
}

function newRow(defaults: Map<string, string>): Reference {
  return (column) => {
    const value = defaults.get(column);
    return value === undefined ? `NEW.${quoted(column)}` : `ifnull(NEW.${quoted(column)}, ${value})`;
  };
}

/** Key columns of the log that a table uses. */
export function logKeys(table: TablePlan): string[] {
  return table.key.map((_, i) => `k${i}`);
}

/** The capture triggers of one table, in the order in which they are created. */
export function captureTriggers(table: TablePlan, uniques: Uniqueness): Trigger[] {
  const on = quoted(table.name);
  const name = (suffix: string): string => `${SQLITE_PREFIX}${table.id}_${suffix}`;
  const log = (row: 'NEW' | 'OLD'): string =>
    `INSERT INTO ${LOG_TABLE} (t, ${logKeys(table).join(', ')}) SELECT ${table.id}, ${table.key
      .map((column) => `${row}.${quoted(column)}`)
      .join(', ')}`;
  const triggers: Trigger[] = [
    trigger(name('insert'), 'AFTER INSERT', on, '', [log('NEW')]),
    trigger(name('update'), 'AFTER UPDATE', on, '', [log('OLD'), `${log('NEW')} WHERE ${keyChanged(table)}`]),
    trigger(name('delete'), 'AFTER DELETE', on, '', [log('OLD')]),
  ];
  if (!table.rowNumbered) {
    // A REPLACE whose victim's deletion cascades to the very row that moves leaves the AFTER trigger no row to fire for.
    const event = `BEFORE UPDATE OF ${list(table.key)}`;
    triggers.push(trigger(name('update_key'), event, on, keyChanged(table), [log('NEW')]));
  }
  const conflicts = conflictsOf(table, uniques);
  conflicts.forEach((conflict, i) => {
    const victims = victimsSql(table, conflict, newRow(uniques.defaults));
    triggers.push(trigger(name(`insert_conflict_${i}`), 'BEFORE INSERT', on, '', [victims]));
    const event = conflict.columns === null ? 'BEFORE UPDATE' : `BEFORE UPDATE OF ${list(conflict.columns)}`;
    triggers.push(trigger(name(`update_conflict_${i}`), event, on, conflict.when ?? '', [victims]));
  });
  return triggers;
}

function trigger(name: string, event: string, on: string, when: string, statements: string[]): Trigger {
  const guard = when === '' ? '' : `WHEN ${when} `;
  const body = statements.map((statement) => `${statement};`).join(' ');
  return {
    name,
    sql: `CREATE TRIGGER ${quoted(name)} ${event} ON ${on} FOR EACH ROW ${guard}BEGIN ${body} END`,
  };
}

function list(columns: string[]): string {
  return columns.map(quoted).join(', ');
}

/** Bytes and storage class, not the column's collation: 'abc' → 'ABC' under NOCASE is a change of key. */
function keyChanged(table: TablePlan): string {
  if (table.rowidAlias) return `NEW.${quoted(table.key[0]!)} <> OLD.${quoted(table.key[0]!)}`;
  return table.key
    .map((column) => {
      const [before, after] = [`OLD.${quoted(column)}`, `NEW.${quoted(column)}`];
      return `${after} IS NOT ${before} COLLATE BINARY OR typeof(${after}) <> typeof(${before})`;
    })
    .join(' OR ');
}

interface Conflict {
  /** SQL that is true for the rows that a REPLACE would delete, given how to name the columns and the rowid of NEW. */
  where: (reference: Reference, rowid: string) => string;
  /** Columns whose update can cause the conflict; null where only the whole row tells. */
  columns: string[] | null;
  when?: string;
}

function conflictsOf(table: TablePlan, uniques: Uniqueness): Conflict[] {
  const generated = new Set(uniques.generated.map(({ name }) => name));
  const conflicts = uniques.indexes
    .filter((unique) => !isWholeKey(table, unique))
    .flatMap((unique): Conflict[] => {
      const plain = unique.plain && unique.predicate === undefined;
      const computed = unique.terms.some(({ column }) => column === undefined || generated.has(column));
      const conflict: Conflict = {
        where: (reference) => uniqueMatch(unique, reference, rowSql(table, [...generated], reference)),
        // No statement sets a generated column, so UPDATE OF would never name it.
        columns: plain && !computed ? unique.terms.map((term) => term.column!) : null,
      };
      if (!computed || generated.size === 0 || uniques.defaults.size === 0) return [conflict];
      // NEW's generated columns were computed before the defaults were put in.
      return [
        conflict,
        {
          where: (reference) => {
            const row = computedRowSql(table, uniques, reference);
            return uniqueMatch(
              unique,
              (name) => (generated.has(name) ? `(SELECT ${quoted(name)} FROM (${row}))` : reference(name)),
              row,
            );
          },
          columns: null,
        },
      ];
    });
  // The rowid is a unique key too, and an UPDATE of it names no column that UPDATE OF could list.
  if (!table.withoutRowid && !table.rowidAlias) {
    const name = rowidOf(table);
    conflicts.push({
      where: (_, rowid) => `${name} = ${rowid}`,
      columns: null,
      when: `NEW.${name} <> OLD.${name}`,
    });
  }
  return conflicts;
}

/**
 * The key's own index needs no victims where equal means identical, because AFTER INSERT and BEFORE UPDATE log that very key.
 * Only a column that converts nothing can hold both 1 and 1.0, which equal each other.
 */
function isWholeKey(table: TablePlan, unique: UniqueIndex): boolean {
  const same =
    unique.plain &&
    unique.predicate === undefined &&
    unique.terms.length === table.key.length &&
    unique.terms.every(
      (term) => table.key.includes(term.column!) && term.collation.toUpperCase() === 'BINARY',
    );
  if (!same || table.rowidAlias) return same;
  return table.key.every((name) => {
    const declared = table.columns.find((column) => column.name === name)!.declared;
    return affinityOf(declared) !== 'BLOB' && declared.toUpperCase() !== 'ANY';
  });
}

/** A query for one row: in it a bare column name means NEW's value, so an expression can be repeated verbatim. */
function rowSql(table: TablePlan, generated: string[], reference: Reference): string {
  const names = [...table.columns.map((column) => column.name), ...generated];
  return `SELECT ${names.map((name) => `${reference(name)} AS ${quoted(name)}`).join(', ')}`;
}

/** As `rowSql`, with the generated columns computed from the others' values as they will be. */
function computedRowSql(table: TablePlan, uniques: Uniqueness, reference: Reference): string {
  return uniques.generated.reduce(
    (row, { name, expression }) => `SELECT *, ${expression} AS ${quoted(name)} FROM (${row})`,
    rowSql(table, [], reference),
  );
}

function uniqueMatch(unique: UniqueIndex, reference: Reference, row: string): string {
  const terms = unique.terms.map((term) =>
    term.column !== undefined
      ? `${quoted(term.column)} = ${reference(term.column)} COLLATE ${quoted(term.collation)}`
      : `${term.expression} = (SELECT ${term.expression} FROM (${row})) COLLATE ${quoted(term.collation)}`,
  );
  if (unique.predicate !== undefined) terms.push(`(${unique.predicate})`);
  return terms.join(' AND ');
}

function victimsSql(table: TablePlan, conflict: Conflict, reference: Reference): string {
  return (
    `INSERT INTO ${LOG_TABLE} (t, ${logKeys(table).join(', ')}) ` +
    `SELECT ${table.id}, ${list(table.key)} FROM ${quoted(table.name)} ` +
    `WHERE ${conflict.where(reference, `NEW.${table.withoutRowid ? '' : rowidOf(table)}`)}`
  );
}

/** How many log rows pass between two looks at the log's size. */
const CAP_STEP = 1_000;

/**
 * Keeps the log from filling the source's disk where nobody replays and trims it any more. Replay finds the rows that
 * it needs gone, and says so (`LogOverflow`).
 */
function capTrigger(maxLogRows: number): string {
  return (
    `CREATE TRIGGER ${SQLITE_PREFIX}log_cap AFTER INSERT ON ${LOG_TABLE} WHEN NEW.seq % ${CAP_STEP} = 0 ` +
    `BEGIN DELETE FROM ${LOG_TABLE} WHERE seq <= NEW.seq - ${Math.max(maxLogRows, CAP_STEP)}; END`
  );
}

/**
 * Creates the capture triggers of every table; runs inside the caller's write transaction.
 * @param maxLogRows what the log may hold, give or take a thousand rows
 * @throws CrossfadeError PlanRefused where a trigger would have to scan the table at every write
 */
export function installCapture(db: Database.Database, tables: TablePlan[], maxLogRows: number): void {
  dropCapture(db);
  db.exec(capTrigger(maxLogRows));
  if (tables.some((table) => table.rowNumbered)) installNumbering(db);
  for (const table of tables) {
    const uniques = uniquenessOf(db, table.name);
    const scan = captureScan(db, table, uniques);
    if (scan !== null) {
      throw new CrossfadeError(
        'PlanRefused',
        `source table ${quoted(table.name)}: capture would scan the table at every write, because SQLite does not use ` +
          `the unique index for: ${scan}`,
      );
    }
    for (const { sql } of captureTriggers(table, uniques)) db.exec(sql);
  }
}

/** A look at a conflict for which SQLite would scan the table at every write, as SQL; null where an index serves all. */
export function captureScan(
  db: Database.Database,
  table: TablePlan,
  uniques: Uniqueness = uniquenessOf(db, table.name),
): string | null {
  for (const conflict of conflictsOf(table, uniques)) {
    const sql = `SELECT 1 FROM ${quoted(table.name)} WHERE ${conflict.where(() => ':value', ':value')}`;
    const steps = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all({ value: 1 }) as { detail: string }[];
    const scan = `SCAN ${table.name}`;
    if (steps.some(({ detail }) => detail === scan || detail.startsWith(`${scan} `))) return sql;
  }
  return null;
}

/** Drops the triggers that capture, not those that fence. */
export function dropCapture(db: Database.Database): void {
  dropTriggers(
    db,
    ourTriggers(db).filter((trigger) => !isFence(trigger)),
  );
}

/**
 * Names what is wrong with the capture of these tables, null where all is well: every trigger as it was created, and
 * newer than the application's, because a newer AFTER trigger that raises IGNORE keeps the row and skips ours.
 */
export function captureFault(db: Database.Database, tables: TablePlan[]): string | null {
  const present = new Map(ourTriggers(db).map((trigger) => [trigger.name, trigger]));
  for (const table of tables) {
    const uniques = uniquenessOf(db, table.name);
    const newest = db
      .prepare(
        `SELECT max(rowid) AS rowid FROM ${masterOf(db)}
          WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND name NOT LIKE ${OURS} ESCAPE '\\'`,
      )
      .get(table.name) as { rowid: number | null };
    for (const { name, sql } of captureTriggers(table, uniques)) {
      const found = present.get(name);
      if (found === undefined || found.sql !== sql) {
        return `the capture trigger ${name} of table ${quoted(table.name)} is gone or changed`;
      }
      if (newest.rowid !== null && newest.rowid > found.rowid) {
        return `table ${quoted(table.name)} got a trigger of the application that is newer than capture`;
      }
    }
  }
  return null;
}
