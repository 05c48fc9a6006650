/** Conditions that find, among the values of a column, those that keep it from a plain type. */
import { quoted } from '../databases/identifiers.ts';
import type { ColumnKind } from '../contract.ts';
import { fittingSql, storedAsDecimal, type ColumnFacts } from '../databases/sqlite/census-sql.ts';
import { IS_PLAIN_TEXT } from '../databases/sqlite/encode.ts';
import type { SourceColumn, SourceTable } from '../databases/sqlite/schema.ts';
import { mixedCode } from './column-types.ts';

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
