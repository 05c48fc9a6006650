/** CHECKs of the target: each admits exactly the values that can go back to SQLite as they are. */
import type { ColumnKind } from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { DIGITS_ARE_TEXT, MIXED_NUMBER } from '../databases/mixed.ts';
import { isMomentKind, momentCheck } from '../databases/moment.ts';
import { targetType, type ColumnCase } from './column-types.ts';

/** A text that a column with a numeric affinity would turn into a number (sqlite3AtoF, spaces included). */
const NUMBER_TEXT = `^[ \\t\\n\\v\\f\\r]*[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?[ \\t\\n\\v\\f\\r]*$`;

/** The same, marked as a text, by its characters or by its bytes: see `mixed.ts`. */
const MARKED_NUMBER = `^\\\\s${NUMBER_TEXT.slice(1)}`;
const NUMBER_BYTES = `^\\\\t(3[0-9]|2[bde]|[46]5|0[9a-d]|20)+$`;

/**
 * SQL conditions for a column of this kind; empty where every value of the type can go back.
 * @param name of the column on the target
 */
export function checksFor(name: string, subject: ColumnCase, kind: ColumnKind): string[] {
  const { column } = subject;
  const c = quoted(name);
  const convertsText =
    column.affinity === 'INTEGER' || column.affinity === 'NUMERIC' || column.affinity === 'REAL';
  if (isMomentKind(kind)) return [momentCheck(kind, c)];
  switch (kind) {
    case 'double':
      // SQLite stores NULL for NaN. -0 goes back as 0 where the column has an affinity, as it would have been stored there.
      return [`${c} <> 'NaN'`];
    case 'numeric':
      // Integers go back as INTEGER, the rest as REAL: a double that 15 digits write exactly, so that the decimal
      // comes again. NaN and the infinities are beyond both bounds.
      return [
        `${c} = trunc(${c}) AND ${c} BETWEEN -9223372036854775808 AND 9223372036854775807 ` +
          `OR abs(${c}) < 2251799813685248 AND ${c} = ${c}::double precision::numeric`,
      ];
    case 'instant':
      // The type rounds to milliseconds itself.
      return [`${c} BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999+00'`];
    case 'date':
      return [`${c} BETWEEN '0001-01-01' AND '9999-12-31'`];
    case 'text':
      return convertsText ? [`${c} !~ '${NUMBER_TEXT}'`] : [];
    case 'mixed':
      return [
        ...(convertsText
          ? [
              `(${c} !~ '${NUMBER_TEXT}' OR ${c} ~ '${MIXED_NUMBER}') AND ${c} !~ '${MARKED_NUMBER}' AND ${c} !~ '${NUMBER_BYTES}'`,
            ]
          : []),
        ...mixedKeyChecks(c, subject),
      ];
    case 'json':
      return convertsText ? [`json_typeof(${c}) <> 'number'`] : [];
    case 'jsonb':
      return convertsText ? [`jsonb_typeof(${c}) <> 'number'`] : [];
    case 'bigint':
    case 'integer':
    case 'uuid':
    case 'boolean':
    case 'bytea':
      return [];
  }
}

/** Rows are found by the text of their key: no second spelling of an integer, and no real, which has no certain one. */
function mixedKeyChecks(c: string, subject: ColumnCase): string[] {
  if (!subject.keyed || targetType('mixed', subject) === DIGITS_ARE_TEXT) return [];
  return [
    `${c} !~ '^\\\\r-?Inf$' AND CASE WHEN ${c} ~ '^(0|-?[1-9][0-9]{0,18})$' ` +
      `THEN ${c}::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 ELSE ${c} !~ '${MIXED_NUMBER}' END`,
  ];
}
