/** The key by which the rows of a table are copied, found and compared. */
import type { ColumnPlan } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import type { TableFacts } from '../databases/sqlite/census.ts';
import { rowidName } from '../databases/sqlite/ranges.ts';
import type { SourceIndex, SourceTable } from '../databases/sqlite/schema.ts';
import { ROW_NUMBER_COLUMN } from '../protocol.ts';
import { named, type Findings } from './findings.ts';
import type { Choices } from './plan-foreign-keys.ts';

export interface KeyChoice {
  /** In key order; empty where the row numbers serve. */
  columns: string[];
  /** The unique index that serves as key where the primary key does not. */
  index?: SourceIndex;
  /** What keeps the declared primary key from being the key, where another takes its place. */
  instead?: string;
}

/**
 * The primary key, else the narrowest unique index over plain columns that are never NULL. A primary key with NULLs is
 * taken only where there is no such index.
 */
export function chooseKey(table: SourceTable, facts: TableFacts): KeyChoice {
  const nullable = nullColumns(table, facts);
  if (table.primaryKey.length > 0 && nullable.length === 0) return { columns: table.primaryKey };
  const notNull = new Set(
    table.columns
      .filter((column) => column.notNull && column.generated === 'no')
      .map((column) => column.name),
  );
  const [index] = table.indexes
    .filter((candidate) => candidate.unique && candidate.plain && candidate.predicate === undefined)
    .filter((candidate) => candidate.terms.every((term) => notNull.has(term.column!)))
    .sort((a, b) => Number(isBinary(b)) - Number(isBinary(a)) || a.terms.length - b.terms.length);
  if (index === undefined) return { columns: table.primaryKey };
  const columns = index.terms.map((term) => term.column!);
  return nullable.length === 0 ? { columns, index } : { columns, index, instead: nullText(nullable) };
}

function isBinary(index: SourceIndex): boolean {
  return index.terms.every((term) => term.collation.toUpperCase() === 'BINARY');
}

/** Columns of the primary key that are NULL in some rows. */
function nullColumns(table: SourceTable, facts: TableFacts): string[] {
  return table.primaryKey.filter((name) => (facts.columns.get(name)?.nulls ?? 0) > 0);
}

function nullText(columns: string[]): string {
  return `(${columns.map(quoted).join(', ')}) is NULL in some rows`;
}

/** The index that makes the key unique; the row numbers have none. */
export function keyIndexOf(table: SourceTable, key: KeyChoice): SourceIndex | undefined {
  if (key.index !== undefined || key.columns !== table.primaryKey) return key.index;
  return table.indexes.find((candidate) => candidate.origin === 'pk');
}

/** Row numbers in place of a primary key that the target cannot have; null where it can, or where there are none. */
export function rowNumbersInstead(
  table: SourceTable,
  key: KeyChoice,
  facts: TableFacts,
  choices: Choices,
  bytesTooMany: (index: SourceIndex) => boolean,
): KeyChoice | null {
  if (table.rowidAlias || rowidName(table) === null) return null;
  const nullable = nullColumns(table, facts).filter((name) => key.columns.includes(name));
  if (nullable.length > 0) return { columns: [], instead: nullText(nullable) };
  const mixed = key.columns.find((name) => choices.get(name)?.choice.obstacle !== undefined);
  if (mixed !== undefined) return { columns: [], instead: `${quoted(mixed)} mixes storage classes` };
  const index = keyIndexOf(table, key);
  return index !== undefined && bytesTooMany(index)
    ? { columns: [], instead: 'its entries are too long for an index' }
    : null;
}

/** Tells which other key takes the place of the declared one. */
export function reportKey(table: SourceTable, { instead, index }: KeyChoice, findings: Findings): void {
  if (instead === undefined || index === undefined) return;
  findings.note({
    code: 'other-key',
    table: table.name,
    message: `the primary key of ${named(table.name)} cannot be one on the target, because ${instead}: unique index ${quoted(index.name)} is the key there, and the declared one a unique index`,
  });
}

/** The last column of a table whose rows are told apart by their numbers, so that an INSERT without a list of columns goes on to work. */
export function rowNumberColumn(table: SourceTable, { instead }: KeyChoice, findings: Findings): ColumnPlan {
  const why =
    instead === undefined
      ? `${named(table.name)} has no primary key and no unique index over NOT NULL columns`
      : `the primary key of ${named(table.name)} cannot be one on the target, because ${instead}: it becomes a unique index, as policies.keys asks`;
  findings.note({
    code: 'no-key',
    table: table.name,
    message:
      `${why}: its rows are told apart by SQLite's row ` +
      `numbers, which the column ${quoted(ROW_NUMBER_COLUMN)} holds on the target; DatabaseConnection leaves it out of results, ` +
      `and after a VACUUM the table is copied again`,
  });
  return {
    name: rowidName(table)!,
    targetName: ROW_NUMBER_COLUMN,
    declared: 'INTEGER',
    kind: 'bigint',
    targetType: 'bigint',
    why: 'the row number, because no column tells rows apart; numbered by the target',
    notNull: true,
    identity: true,
  };
}
