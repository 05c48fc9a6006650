/** The operator's overrides, resolved against the schema: which tables stay behind, and which columns get a type of his choice. */
import type { ColumnKind, Overrides } from '../contract.ts';
import { closestName } from '../closest-name.ts';
import { CrossfadeError } from '../errors.ts';
import type { SourceColumn, SourceSchema, SourceTable } from '../databases/sqlite/schema.ts';
import { asciiLower, quoted, sameName } from '../databases/identifiers.ts';
import { isMomentKind, MOMENT_KINDS, MOMENT_TYPES, momentType } from '../databases/moment.ts';
import {
  fittingCount,
  holds,
  impossible,
  TARGET_TYPES,
  valueCount,
  type Choice,
  type ColumnCase,
} from './column-types.ts';
import { named, oneLine, type Findings } from './findings.ts';

export interface Resolved {
  /** Names, as `asciiLower` folds them, of the tables that stay behind, virtual ones included. */
  skipped: ReadonlySet<string>;
  /** The kind that the operator asked for, by the column's name as the table spells it; empty for most tables. */
  kindsOf(table: SourceTable): ReadonlyMap<string, ColumnKind>;
}

/** @throws CrossfadeError InvalidInput where a name is not the schema's, or a column cannot have a type of its own */
export function resolveOverrides(schema: SourceSchema, overrides: Overrides): Resolved {
  const skipped = new Set<string>();
  const kinds = new Map<string, Map<string, ColumnKind>>();
  const known = [...schema.tables, ...schema.virtualTables].map(({ name }) => name);
  for (const [name, { skip, columns }] of Object.entries(overrides)) {
    const table = schema.tables.find((candidate) => sameName(candidate.name, name));
    if (table === undefined && !schema.virtualTables.some((candidate) => sameName(candidate.name, name))) {
      throw unknown(`overrides name a table ${quoted(name)} that the source does not have`, name, known);
    }
    if (skip) skipped.add(asciiLower(name));
    if (Object.keys(columns).length === 0) continue;
    if (table === undefined) {
      throw new CrossfadeError(
        'InvalidInput',
        `overrides choose types for virtual table ${quoted(name)}, which is never copied: only "skip" has a meaning there`,
      );
    }
    kinds.set(
      table.name,
      new Map(
        Object.entries(columns).map(([column, { type }]) => [columnOf(table, column).name, KINDS[type]]),
      ),
    );
  }
  return { skipped, kindsOf: (table) => kinds.get(table.name) ?? NO_KINDS };
}

const NO_KINDS: ReadonlyMap<string, ColumnKind> = new Map();

const KINDS = Object.fromEntries([
  ...Object.entries(TARGET_TYPES).map(([kind, type]) => [type, kind]),
  // Of several forms of dates; `momentWanted` finds the one that the values have.
  ...MOMENT_TYPES.map((type) => [type, type]),
]) as Record<(typeof TARGET_TYPES)[ColumnKind], ColumnKind>;

/** A type that holds dates of any one form is asked for in the form that the column's values have. */
export function momentWanted(kind: ColumnKind, subject: ColumnCase): ColumnKind {
  if (!isMomentKind(kind) || valueCount(subject.facts) === 0) return kind;
  const same = MOMENT_KINDS.filter((other) => momentType(other) === momentType(kind));
  return same.find((other) => holds(other, subject)) ?? kind;
}

function columnOf(table: SourceTable, name: string): SourceColumn {
  const column = table.columns.find((candidate) => sameName(candidate.name, name));
  if (column === undefined) {
    throw unknown(
      `overrides name a column ${quoted(name)} that ${named(table.name)} does not have`,
      name,
      table.columns.map((candidate) => candidate.name),
    );
  }
  if (column.generated !== 'no') {
    throw new CrossfadeError(
      'InvalidInput',
      `overrides choose a type for ${named(table.name, column.name)}, which is generated: its type follows from its expression`,
    );
  }
  return column;
}

function unknown(what: string, name: string, known: string[]): CrossfadeError {
  const meant = closestName(name, known);
  const hint = meant === undefined ? `it has ${oneLine(known.join(', '))}` : `is "${meant}" meant?`;
  return new CrossfadeError('InvalidInput', `${what}: ${hint}`);
}

/** Tells which tables stay behind. */
export function reportSkipped(schema: SourceSchema, { skipped }: Resolved, findings: Findings): void {
  for (const { name } of [...schema.tables, ...schema.virtualTables]) {
    if (!skipped.has(asciiLower(name))) continue;
    findings.note({
      code: 'table-skipped',
      table: name,
      message: `${named(name)} is not migrated, as overrides ask: it stays in the source, where the application may go on to write it`,
    });
  }
}

/** Tells of a column that keeps less than was there, the value of JSON and not its text, or whose default makes what does not fit. */
export function reportChosen(
  table: SourceTable,
  column: SourceColumn,
  kind: ColumnKind,
  findings: Findings,
): void {
  if (kind === 'instant' && /CURRENT_TIMESTAMP|datetime/i.test(column.defaultText ?? '')) {
    findings.note({
      code: 'default-of-other-class',
      table: table.name,
      column: column.name,
      message:
        `${named(table.name, column.name)} is timestamptz(3), as overrides ask, and its default ${column.defaultText} is a text in the source: ` +
        `a row that the source still makes by it does not fit and is set aside`,
    });
  }
  if (kind !== 'jsonb') return;
  findings.note({
    code: 'jsonb',
    table: table.name,
    column: column.name,
    message:
      `${named(table.name, column.name)} is jsonb, as overrides ask: the target keeps the JSON value and not its text (spaces, order of names, ` +
      `names given twice, spelling of numbers), it is compared as JSON, and a value that changes there comes back in PostgreSQL's spelling`,
  });
}

/**
 * The choice of the kind that the operator asked for; a blocker where the column can never be held so, or a value does not fit.
 * @param own what the plan would have chosen
 */
export function chosenKind(kind: ColumnKind, own: Choice, subject: ColumnCase): Choice {
  const type = TARGET_TYPES[kind];
  const why = `${type} as overrides ask`;
  const fits = own.obstacle === undefined ? `what fits is ${TARGET_TYPES[own.kind]}` : own.obstacle.what;
  const never = impossible(kind, subject);
  if (never !== null) {
    const what = `overrides ask for ${type}, but ${never}`;
    return {
      kind,
      why,
      obstacle: { code: 'override', what, remedy: `${fits}: take the override out or change it` },
    };
  }
  if (holds(kind, subject)) return { kind, why: `${why}; ${own.why}` };
  const count = valueCount(subject.facts) - fittingCount(kind, subject);
  const what = `overrides ask for ${type}, and ${count} of its ${valueCount(subject.facts)} values do not fit`;
  const remedy = `${fits} (${own.why}): change these values, or take the override out or change it`;
  return { kind, why, obstacle: { code: 'override', count, what, remedy } };
}
