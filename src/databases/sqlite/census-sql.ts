/** The questions that the census asks about a column, as SQL aggregates over the alias `t`. */
import type { ColumnKind } from '../../contract.ts';
import { quoted } from '../identifiers.ts';
import { isMomentKind, MOMENT_KINDS, momentFitsSql, momentForm } from '../moment.ts';
import { admitsSql, canonicalJsonSql, IS_PLAIN_TEXT, isDecimalSql } from './encode.ts';
import type { Fact } from './column-facts.ts';
import {
  declaredLength,
  declaredScale,
  type Scale,
  isBoolean,
  isDate,
  isDatetime,
  isJson,
} from './declared.ts';
import type { SourceColumn } from './schema.ts';

type StorageClass = 'integers' | 'reals' | 'texts' | 'blobs';

/** `values`: all but NULL. */
export type Question = Fact | 'values';

/** Aggregates by the question that each answers. */
export type Questions = Partial<Record<Question, string>>;

const TYPEOF: Record<StorageClass, string> = {
  integers: 'integer',
  reals: 'real',
  texts: 'text',
  blobs: 'blob',
};

function name(column: SourceColumn): string {
  return `t.${quoted(column.name)}`;
}

function isA(column: SourceColumn, storageClass: StorageClass): string {
  return `typeof(${name(column)}) = '${TYPEOF[storageClass]}'`;
}

function isNumber(column: SourceColumn): boolean {
  return column.affinity === 'NUMERIC' || column.affinity === 'INTEGER';
}

/** The storage classes that a column of this type usually holds: the others are counted only where these do not suffice. */
function expected(column: SourceColumn): StorageClass[] {
  switch (column.affinity) {
    case 'INTEGER':
      return ['integers'];
    case 'REAL':
      return ['reals'];
    case 'TEXT':
      return ['texts'];
    case 'BLOB':
      return ['texts', 'blobs'];
    case 'NUMERIC':
      if (isBoolean(column.declared)) return ['integers'];
      if (isOfDates(column) || isJson(column.declared)) return ['texts'];
      return ['integers', 'reals'];
  }
}

/**
 * @param indexed whether the length of the values matters
 * @param wanted a kind that is asked for, whatever is declared
 */
export function firstQuestions(column: SourceColumn, indexed: boolean, wanted?: ColumnKind): Questions {
  const c = name(column);
  const classes = expected(column);
  const count = (kind: ColumnKind): string => `sum(${fittingSql(column, kind)})`;
  return {
    values: `count(${c})`,
    ...classQuestions(column, classes),
    ...(wanted === 'boolean' || isBoolean(column.declared) ? { bits: count('boolean') } : {}),
    ...((wanted !== undefined && isMomentKind(wanted)) || isDatetime(column.declared)
      ? { timestamp: count('timestamp'), timestamptz: count('timestamptz') }
      : {}),
    ...(wanted === 'date' || isDate(column.declared) ? { dates: count('date') } : {}),
    ...(wanted === 'json' || isJson(column.declared) ? { jsons: count('json') } : {}),
    ...(wanted === 'jsonb' ? { jsonValues: count('jsonb') } : {}),
    ...(wanted === 'integer' || wanted === 'instant' || wanted === 'uuid' ? { asked: count(wanted) } : {}),
    ...(indexed || (classes.includes('texts') && !isOfDates(column))
      ? { longest: `max(octet_length(${c}))` }
      : {}),
    ...(declaredLength(column) === null ? {} : { longestText: `max(length(${c}))` }),
    ...(isOfNumbers(column) ? { least: `min(${c})`, greatest: `max(${c})` } : {}),
  };
}

/** SQL that is true for a text of more characters than the declared type allows. */
export function tooLongSql(column: SourceColumn): string {
  return `(${isA(column, 'texts')} AND length(${name(column)}) > ${declaredLength(column) ?? 'NULL'})`;
}

/** Of a value that is not NULL: does a column of this kind give it back? A mixed one that is no key gives back everything. */
export function fittingSql(column: SourceColumn, kind: ColumnKind): string {
  const c = name(column);
  if (isMomentKind(kind)) return momentFitsSql(kind, c);
  switch (kind) {
    case 'bigint':
      return `(${isA(column, 'integers')})`;
    case 'integer':
    case 'instant':
    case 'uuid':
      return admitsSql(kind, c);
    case 'boolean':
      return `(${isA(column, 'integers')} AND ${c} IN (0, 1))`;
    case 'numeric':
      return `(${isA(column, 'integers')} OR ${isA(column, 'reals')} AND ${storedAsDecimal(column)})`;
    case 'double':
      return isNumber(column)
        ? `(${isA(column, 'reals')} OR ${isA(column, 'integers')} AND CAST(${c} AS REAL) = ${c})`
        : `(${isA(column, 'reals')})`;
    case 'text':
      return `(${isA(column, 'texts')} AND ${IS_PLAIN_TEXT}(CAST(${c} AS BLOB)))`;
    case 'json':
      return `(${isA(column, 'texts')} AND json_valid(${c}))`;
    case 'jsonb':
      return `(${isA(column, 'texts')} AND ${canonicalJsonSql(c)} IS NOT NULL)`;
    case 'date':
      // See `momentFitsSql`.
      return `(${isA(column, 'texts')} AND date(${c}, '+0 days') = ${c} COLLATE BINARY AND +${c} >= '0001')`;
    case 'bytea':
      return `(${isA(column, 'blobs')})`;
    case 'mixed':
      return `(${c} IS NOT NULL)`;
  }
}

/** What the first questions left open, where they did not account for every value. */
export function furtherQuestions(column: SourceColumn): Questions {
  const asked = expected(column);
  const number = `iif(typeof(${name(column)}) IN ('integer', 'real'), ${name(column)}, NULL)`;
  return {
    ...classQuestions(
      column,
      (Object.keys(TYPEOF) as StorageClass[]).filter((storageClass) => !asked.includes(storageClass)),
    ),
    least: `min(${number})`,
    greatest: `max(${number})`,
    longest: `max(octet_length(${name(column)}))`,
  };
}

/** Bytes of the shortest and of the longest text: the forms of moments differ by their length. */
export function lengthsSql(column: SourceColumn): string[] {
  const length = `octet_length(${textSql(column)})`;
  return [`min(${length})`, `max(${length})`];
}

/** Which texts are moments in the forms of so many bytes, but for those that the first questions are about. */
export function momentQuestions(column: SourceColumn, bytes: number): Questions {
  const kinds = MOMENT_KINDS.filter((kind) => kind !== 'timestamp' && kind !== 'timestamptz');
  const found = kinds.filter((kind) => momentForm(kind).length === bytes);
  return Object.fromEntries(found.map((kind) => [kind, `sum(${fittingSql(column, kind)})`]));
}

export function isOfDates({ declared }: SourceColumn): boolean {
  return isDatetime(declared) || isDate(declared);
}

/** Does a column of this type usually hold numbers, other than 0 and 1? */
function isOfNumbers(column: SourceColumn): boolean {
  return !isBoolean(column.declared) && !expected(column).includes('texts');
}

/** The rowid under its own name is never anything but an integer. */
export function rowidQuestions(column: SourceColumn): Questions {
  const c = name(column);
  return { values: 'count(*)', integers: 'count(*)', least: `min(${c})`, greatest: `max(${c})` };
}

/** Asked where `longestText` tells that there are such texts. */
export function tooLongQuestion(column: SourceColumn): Questions {
  return { tooLong: `sum(${tooLongSql(column)})` };
}

/** A real is counted once where it is within the declared scale, which 15 digits hold: only else `decimals` is asked. */
export function decimalsQuestion(column: SourceColumn): Questions {
  return { decimals: `sum(${isA(column, 'reals')} AND ${storedAsDecimal(column)})` };
}

/** Counts of storage classes, and with those of numbers how exact they are. */
function classQuestions(column: SourceColumn, classes: StorageClass[]): Questions {
  const c = name(column);
  const questions: Questions = {};
  for (const storageClass of classes) questions[storageClass] = `sum(${isA(column, storageClass)})`;
  if (isNumber(column) && classes.includes('integers')) {
    questions.beyondDouble = `sum(${isA(column, 'integers')} AND CAST(${c} AS REAL) <> ${c})`;
  }
  if (isNumber(column) && classes.includes('reals')) {
    const scale = declaredScale(column);
    if (scale === null) Object.assign(questions, decimalsQuestion(column));
    else questions.inScale = `sum(${isA(column, 'reals')} AND ${withinScale(column, scale)})`;
  }
  return questions;
}

/** Of a real: is it one that 15 digits hold exactly and that PostgreSQL's numeric gives back? */
export function storedAsDecimal(column: SourceColumn): string {
  return isDecimalSql(name(column));
}

/** Of a number: is it within a declared precision and scale? */
export function withinScale(column: SourceColumn, { precision, scale }: Scale): string {
  const c = name(column);
  const bound = `1e${precision - scale}`;
  return `(${c} > -${bound} AND ${c} < ${bound} AND round(${c}, ${scale}) = ${c})`;
}

/** The value where it is text, else NULL. */
export function textSql(column: SourceColumn): string {
  return `iif(${isA(column, 'texts')}, ${name(column)}, NULL)`;
}

/** Bytes of a row's values, integers as text and a real as the 24 that the longest need: to write each one costs more than all the rest. octet_length() of a bare column does not read a long value's pages. */
export function rowSizeSql(columns: SourceColumn[]): string {
  const sizes = columns.map((column) => {
    const length = `octet_length(${name(column)})`;
    const real = column.affinity === 'REAL' || column.affinity === 'NUMERIC';
    const size = real ? `iif(${isA(column, 'reals')}, 24, ${length})` : length;
    return column.notNull ? size : `ifnull(${size}, 0)`;
  });
  return sizes.length === 0 ? '0' : balancedSum(sizes);
}

/** Pairwise, because a sum of 2,000 terms is deeper than SQLite allows. */
function balancedSum(terms: string[]): string {
  if (terms.length === 1) return terms[0]!;
  const middle = terms.length >> 1;
  return `(${balancedSum(terms.slice(0, middle))} + ${balancedSum(terms.slice(middle))})`;
}
