/** The questions that the census asks about a column, as SQL aggregates over the alias `t`. */
import type { ColumnKind } from '../../contract.ts';
import { quoted } from '../identifiers.ts';
import { canonicalJsonSql, IS_PLAIN_TEXT } from './encode.ts';
import { declaredLength, isBoolean, isDate, isDatetime, isJson } from './declared.ts';
import type { SourceColumn } from './schema.ts';

/** Counts of a column's values; a fact that its declared type cannot need stays 0. */
export interface ColumnFacts {
  integers: number;
  reals: number;
  texts: number;
  blobs: number;
  nulls: number;
  /** Integers 0 and 1. */
  bits: number;
  /** Texts YYYY-MM-DD HH:MM:SS that are a date, in the years 0001 to 9999. */
  datetimes: number;
  /** Texts YYYY-MM-DD that are a date, in the years 0001 to 9999. */
  dates: number;
  /** Texts that are JSON (RFC 8259). */
  jsons: number;
  /** Texts that are JSON which PostgreSQL's jsonb can hold; counted only where it is asked for. */
  jsonValues: number;
  /** Reals that 15 digits hold exactly and that PostgreSQL's numeric gives back. */
  decimals: number;
  /** Integers that no double holds exactly. */
  beyondDouble: number;
  /** Texts with a NUL character. */
  nulTexts: number;
  /** Texts that are not valid UTF-8. */
  invalidTexts: number;
  /** Texts of more characters than the declared type allows, as VARCHAR(20) does. */
  tooLong: number;
  /** Bytes of the longest value, of a column that is part of an index. */
  longest: number;
}

type StorageClass = 'integers' | 'reals' | 'texts' | 'blobs';

/** `values`: all but NULL. */
export type Question = keyof ColumnFacts | 'values';

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
      if (isDatetime(column.declared) || isDate(column.declared) || isJson(column.declared)) return ['texts'];
      return ['integers', 'reals'];
  }
}

/**
 * @param indexed whether the length of the values matters
 * @param wanted a kind that is asked for, whatever is declared
 */
export function firstQuestions(column: SourceColumn, indexed: boolean, wanted?: ColumnKind): Questions {
  const c = name(column);
  const count = (kind: ColumnKind): string => `sum(${fittingSql(column, kind)})`;
  return {
    values: `count(${c})`,
    ...classQuestions(column, expected(column)),
    ...(wanted === 'boolean' || isBoolean(column.declared) ? { bits: count('boolean') } : {}),
    ...(wanted === 'timestamp' || isDatetime(column.declared) ? { datetimes: count('timestamp') } : {}),
    ...(wanted === 'date' || isDate(column.declared) ? { dates: count('date') } : {}),
    ...(wanted === 'json' || isJson(column.declared) ? { jsons: count('json') } : {}),
    ...(wanted === 'jsonb' ? { jsonValues: count('jsonb') } : {}),
    ...(declaredLength(column) === null ? {} : { tooLong: `sum(${tooLongSql(column)})` }),
    ...(indexed ? { longest: `max(octet_length(${c}))` } : {}),
  };
}

/** SQL that is true for a text of more characters than the declared type allows. */
export function tooLongSql(column: SourceColumn): string {
  return `(${isA(column, 'texts')} AND length(${name(column)}) > ${declaredLength(column) ?? 'NULL'})`;
}

/** Of a value that is not NULL: does a column of this kind give it back? A mixed one that is no key gives back everything. */
export function fittingSql(column: SourceColumn, kind: ColumnKind): string {
  const c = name(column);
  // A result that equals the text itself proves both its shape and its validity: 2024-02-30 comes back as 03-01. Only
  // the modifier makes 24:00:00 come back as the next day; the plus keeps '0001' from being compared as a number.
  const canonical = (call: string): string =>
    `(${isA(column, 'texts')} AND ${call}(${c}, '+0 days') = ${c} COLLATE BINARY AND +${c} >= '0001')`;
  switch (kind) {
    case 'bigint':
      return `(${isA(column, 'integers')})`;
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
    case 'timestamp':
      return canonical('datetime');
    case 'date':
      return canonical('date');
    case 'bytea':
      return `(${isA(column, 'blobs')})`;
    case 'mixed':
      return `(${c} IS NOT NULL)`;
  }
}

/** What the first questions left open, where they did not account for every value. */
export function furtherQuestions(column: SourceColumn): Questions {
  const asked = expected(column);
  return classQuestions(
    column,
    (Object.keys(TYPEOF) as StorageClass[]).filter((storageClass) => !asked.includes(storageClass)),
  );
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
    questions.decimals = `sum(${isA(column, 'reals')} AND ${storedAsDecimal(column)})`;
  }
  return questions;
}

/** Of a real: is it one that 15 digits hold exactly and that PostgreSQL's numeric gives back? */
export function storedAsDecimal(column: SourceColumn): string {
  const c = name(column);
  // Not abs(): it fails on the least integer, which SQLite may evaluate before the class.
  return `(${c} > -2251799813685248.0 AND ${c} < 2251799813685248.0 AND CAST(format('%.15g', ${c}) AS REAL) = ${c})`;
}

/** The value where it is text, else NULL. */
export function textSql(column: SourceColumn): string {
  return `iif(${isA(column, 'texts')}, ${name(column)}, NULL)`;
}

/** Bytes of a row's values, numbers as text. octet_length() of a bare column does not read a long value's pages. */
export function rowSizeSql(columns: SourceColumn[]): string {
  const sizes = columns.map((column) => {
    const size = `octet_length(${name(column)})`;
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
