/** Findings that need no census: what of the schema is not carried over, or cannot be. */
import type Database from 'better-sqlite3';
import { asciiLower, quoted } from '../databases/identifiers.ts';
import type { TableFacts } from '../databases/sqlite/census.ts';
import { rowSizeSql } from '../databases/sqlite/census-sql.ts';
import type { SourceSchema, SourceTable } from '../databases/sqlite/schema.ts';
import { SQLITE_PREFIX } from '../protocol.ts';
import { named, oneLine, type Findings } from './findings.ts';
import { nameFault, type TargetNames } from './target-names.ts';

/** https://www.postgresql.org/docs/current/limits.html */
const TABLE_COLUMNS = 1_600;
/** A row travels as text, a blob as two digits per byte, and PostgreSQL takes a gigabyte at once. */
const ROW_BYTES = 500_000_000;

export function reportSchema(db: Database.Database, schema: SourceSchema, findings: Findings): void {
  const encoding = String(db.pragma('encoding', { simple: true }));
  if (encoding !== 'UTF-8') {
    findings.block({
      code: 'encoding',
      message: `the source stores text as ${encoding}: rebuild it in UTF-8, e.g. sqlite3 old .dump | sqlite3 new`,
    });
  }
  if (schema.tables.length === 0) {
    findings.block({ code: 'no-tables', message: 'the source has no tables: there is nothing to migrate' });
  }
  reportReserved(schema, findings);
  reportTriggers(schema, findings);
  reportVirtualTables(schema, findings);
}

/** What has a name of ours would be taken for ours, and removed with it. */
function reportReserved(schema: SourceSchema, findings: Findings): void {
  for (const { type, name, by } of schema.reserved) {
    const what = `${type} ${quoted(name)}`;
    if (by === 'crossfade') {
      findings.block({
        code: 'reserved-name',
        table: name,
        message: `${what}: names that begin with ${SQLITE_PREFIX} are for crossfade's own objects: rename it`,
      });
    } else {
      findings.note({
        code: 'reserved-name',
        table: name,
        message: `${what} is left out: names that begin with _cf_ are for Cloudflare's own objects`,
      });
    }
  }
}

function reportTriggers(schema: SourceSchema, findings: Findings): void {
  for (const trigger of schema.triggers) {
    findings.decide({
      code: 'application-trigger',
      table: trigger.table,
      what: `trigger ${quoted(trigger.name)} on ${quoted(trigger.table)} would not exist on the target; ${oneLine(trigger.sql)}`,
      mend: 'let the application do what it does, and drop it',
      chosen: 'it is left out of the target',
    });
  }
}

function reportVirtualTables(schema: SourceSchema, findings: Findings): void {
  for (const { name, shadows, sql } of schema.virtualTables) {
    const inside = shadows.length === 0 ? '' : ` (with ${shadows.map(quoted).join(', ')})`;
    findings.decide({
      code: 'virtual-table',
      table: name,
      what: `virtual table ${quoted(name)}${inside} has no form on the target; ${oneLine(sql)}`,
      mend: 'drop it',
      chosen: 'it is left out',
    });
  }
}

/** @param numbered whether the target has a column more, for the row numbers */
export function reportTable(
  table: SourceTable,
  facts: TableFacts,
  numbered: boolean,
  onTarget: TargetNames,
  findings: Findings,
): void {
  reportNames('table', table.name, onTarget, findings);
  reportWidth(table, numbered, findings);
  if (!table.understood) {
    findings.block({
      code: 'sql-not-understood',
      table: table.name,
      message: `${named(table.name)}: its CREATE TABLE is not understood, so its collations and constraints are unknown: ${oneLine(table.sql)}`,
    });
  }
  if (facts.largestRow > ROW_BYTES) {
    findings.block(
      {
        code: 'row-too-large',
        table: table.name,
        count: facts.largestRow,
        message: `${named(table.name)} has a row of ${facts.largestRow} bytes, and ${ROW_BYTES} are sure to fit: move its large values to files or split them`,
      },
      { table, condition: `${rowSizeSql(table.columns)} > ${ROW_BYTES}` },
    );
  }
  for (const column of table.columns) {
    if (column.collation !== 'BINARY') {
      findings.note({
        code: column.collation === 'NOCASE' ? 'nocase-column' : 'collation',
        table: table.name,
        column: column.name,
        message: `${named(table.name, column.name)} compares with COLLATE ${column.collation}; on the target it compares bytewise, so queries must ask for it, e.g. ${column.collation === 'RTRIM' ? 'rtrim(column) = rtrim(?)' : 'lower(column) = lower(?)'}`,
      });
    }
  }
  for (const clause of table.conflictClauses) {
    findings.note({
      code: 'conflict-clause',
      table: table.name,
      message: `${named(table.name)}: "${oneLine(clause)}" has no form on PostgreSQL: there a conflicting write fails`,
    });
  }
}

/** Reports what a table or view and its columns are called where that is another name than in lower case. */
export function reportNames(
  of: 'table' | 'view',
  name: string,
  onTarget: TargetNames,
  findings: Findings,
): void {
  const say = (there: string): string => `it is called ${quoted(there)} on the target`;
  // Names that only change their case are what the operator asked for.
  if (asciiLower(name) !== asciiLower(onTarget.name)) {
    const why = nameFault(name, 'table') ?? 'another name becomes the same there';
    findings.note({
      code: 'renamed',
      table: name,
      message: `${of} ${quoted(name)}: ${why}: ${say(onTarget.name)}`,
    });
  }
  for (const [column, there] of onTarget.columns) {
    if (asciiLower(column) === asciiLower(there)) continue;
    const why = nameFault(column, 'column') ?? 'another name becomes the same there';
    findings.note({
      code: 'renamed',
      table: name,
      column,
      message: `${named(name, column)}: ${why}: ${say(there)}`,
    });
  }
}

function reportWidth(table: SourceTable, numbered: boolean, findings: Findings): void {
  const { length } = table.columns;
  if (length + Number(numbered) > TABLE_COLUMNS) {
    const remedy = numbered && length === TABLE_COLUMNS ? 'give it a primary key or split it' : 'split it';
    const more = numbered ? ' and no key, so that its row numbers take one more' : '';
    findings.block({
      code: 'too-many-columns',
      table: table.name,
      count: length,
      message: `${named(table.name)} has ${length} columns${more}, and PostgreSQL allows ${TABLE_COLUMNS}: ${remedy}`,
    });
  }
}
