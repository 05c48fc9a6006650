/** Conditions that find, among the values of a column, those that keep it from a plain type. */
import { quoted } from '../databases/identifiers.ts';
import type { ColumnKind } from '../contract.ts';
import { isMomentKind, momentForm } from '../databases/moment.ts';
import { fittingSql, storedAsDecimal, tooLongSql } from '../databases/sqlite/census-sql.ts';
import type { ColumnFacts } from '../databases/sqlite/column-facts.ts';
import { IS_PLAIN_TEXT } from '../databases/sqlite/encode.ts';
import type { SourceColumn, SourceTable } from '../databases/sqlite/schema.ts';
import {
  declaredLength,
  isBoolean,
  isDate,
  isDatetime,
  isDecimal,
  isJson,
} from '../databases/sqlite/declared.ts';
import {
  fittingCount,
  mixedCode,
  preferredKinds,
  TARGET_TYPES,
  valueCount,
  type Choice,
  type ColumnCase,
} from './column-types.ts';
import { named, type Findings } from './findings.ts';

/** SQL over the alias `t`, and how many values meet it. Undefined where each value alone would be plain. */
export function oddValues(
  column: SourceColumn,
  facts: ColumnFacts,
): { condition: string; count: number } | undefined {
  const c = `t.${quoted(column.name)}`;
  switch (mixedCode(facts)) {
    case 'nul-in-text':
    case 'invalid-utf8':
      return {
        condition: `typeof(${c}) = 'text' AND NOT ${IS_PLAIN_TEXT}(CAST(${c} AS BLOB))`,
        count: facts.nulTexts + facts.invalidTexts,
      };
    case 'inexact-number':
      return {
        condition: `typeof(${c}) = 'real' AND NOT ${storedAsDecimal(column)}`,
        count: facts.reals - facts.decimals,
      };
    case 'mixed-classes':
      return rarer(c, facts);
  }
}

/** The rows whose value the kind does not give back; undefined where it is not the values. */
export function misfits(
  table: SourceTable,
  column: SourceColumn,
  kind: ColumnKind,
  count: number | undefined,
): { table: SourceTable; condition: string } | undefined {
  if (count === undefined) return undefined;
  return { table, condition: `t.${quoted(column.name)} IS NOT NULL AND NOT ${fittingSql(column, kind)}` };
}

/** All but the most frequent storage class. */
function rarer(c: string, facts: ColumnFacts): { condition: string; count: number } | undefined {
  const classes: [string, number][] = [
    ['integer', facts.integers],
    ['real', facts.reals],
    ['text', facts.texts],
    ['blob', facts.blobs],
  ];
  const [, ...others] = classes.filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
  if (others.length === 0) return undefined;
  const names = others.map(([name]) => `'${name}'`).join(', ');
  return {
    condition: `typeof(${c}) IN (${names})`,
    count: others.reduce((sum, [, count]) => sum + count, 0),
  };
}

/** Tells of a column whose values are not what its declared type says, so that it has another type than one would expect. */
export function reportValues(
  table: SourceTable,
  subject: ColumnCase,
  { kind, beside }: Choice,
  findings: Findings,
): void {
  const { column, facts } = subject;
  const which = { table: table.name, column: column.name };
  if (beside !== undefined) {
    const type = TARGET_TYPES[beside];
    findings.note({
      ...which,
      code: 'other-date-form',
      message: `${named(table.name, column.name)} could be ${type}, but other columns that are have dates written ${momentForm(beside)}, and a database has one form for a type, so that max() or a view's column is read as it was written: it is ${TARGET_TYPES[kind]} on the target, where every value stands as it is`,
    });
  }
  const [expected] = preferredKinds(subject);
  const count = valueCount(facts) - fittingCount(expected!, subject);
  // Of several storage classes another notice tells; without a declared type, or of an unknown one, nothing is expected.
  const native = kind === expected || isMomentKind(kind);
  if (!native && beside === undefined && kind !== 'mixed' && count > 0 && isTelling(column)) {
    findings.note(
      {
        ...which,
        code: 'other-type',
        count,
        message: `${named(table.name, column.name)} is declared ${column.declared}, and ${count} of its values are not what ${TARGET_TYPES[expected!]} gives back: it is ${TARGET_TYPES[kind]} on the target, where every value stands as it is`,
      },
      misfits(table, column, expected!, count),
    );
  }
  if (facts.tooLong > 0) {
    findings.note(
      {
        ...which,
        code: 'longer-than-declared',
        count: facts.tooLong,
        message: `${named(table.name, column.name)} is declared ${column.declared}, and ${facts.tooLong} of its values have more than ${declaredLength(column)!} characters, the longest ${facts.longestText}: the target does not limit its length`,
      },
      { table, condition: tooLongSql(column) },
    );
  }
}

/** Does the declared type tell which values belong there? UUID, STRING and TIME have an affinity that says otherwise. */
function isTelling({ affinity, declared }: SourceColumn): boolean {
  if (affinity === 'BLOB') return declared !== '';
  return (
    affinity !== 'NUMERIC' || [isBoolean, isDate, isDatetime, isDecimal, isJson].some((is) => is(declared))
  );
}
