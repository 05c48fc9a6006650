/**
 * The application's statements as D1 takes them. D1 binds every JavaScript number as REAL, so that 5 would become '5.0' in a
 * TEXT column, and takes no bigint: integers travel as text inside a CAST. The unary plus takes the cast's affinity away, as
 * a parameter has none: without it a TEXT column would be compared as numbers, past its index.
 */
import { types } from 'node:util';
import type { Sql, Value } from '../databases/adapter.ts';
import { CrossfadeError } from '../errors.ts';
import { Cache } from '../router/cache.ts';
import { isChanging, refuseAsQuery, refuseTransactionControl } from '../router/placeholders.ts';
import { assertArray, GREATEST_INTEGER, LEAST_INTEGER, refuse } from '../router/values.ts';

const CACHED_TEXTS = 500;

/** A statement as D1 prepares it. */
export interface Statement {
  text: string;
  values: (null | number | string | Uint8Array)[];
}

interface Parsed {
  /** The text between the placeholders: one more than there are of them. */
  pieces: string[];
  /** Number of each placeholder, from 1. */
  numbers: number[];
  /** Greatest number. */
  count: number;
}

/** What a placeholder is not inside of, and the placeholders themselves, as SQLite reads them (https://www.sqlite.org/lang_expr.html#varparam). */
const TOKENS =
  /'[^']*'|"[^"]*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|\/\*[^]*?(?:\*\/|$)|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|[?$](\d+)|\?/g;

const parsedTexts = new Cache<string, Parsed>(CACHED_TEXTS);

function parsed(text: string): Parsed {
  const known = parsedTexts.get(text);
  if (known !== undefined) return known;
  refuseTransactionControl(text);
  const result: Parsed = { pieces: [], numbers: [], count: 0 };
  let from = 0;
  for (const token of text.matchAll(TOKENS)) {
    if (token[0] !== '?' && token[1] === undefined) continue;
    const number = token[1] === undefined ? result.count + 1 : Number(token[1]);
    result.pieces.push(text.slice(from, token.index));
    result.numbers.push(number);
    result.count = Math.max(result.count, number);
    from = token.index + token[0].length;
  }
  result.pieces.push(text.slice(from));
  parsedTexts.set(text, result);
  return result;
}

/** @throws CrossfadeError InvalidInput for parameters that no database takes, or of another number, and for transaction control */
export function d1Statement(sql: Sql, params: readonly Value[] = []): Statement {
  assertArray(params);
  const { pieces, numbers, count } = parsed(typeof sql === 'string' ? sql : sql.sqlite);
  if (params.length !== count) {
    throw new CrossfadeError(
      'InvalidInput',
      `the statement has ${count} parameter${count === 1 ? '' : 's'}, and ${params.length} were given`,
    );
  }
  const bound = params.map(parameter);
  let text = pieces[0]!;
  numbers.forEach((number, i) => {
    const type = bound[number - 1]?.cast;
    text += type === undefined ? `?${number}` : `(+CAST(?${number} AS ${type}))`;
    text += pieces[i + 1]!;
  });
  return { text, values: bound.map(({ value }) => value) };
}

/** As `d1Statement`, for a statement that is to change nothing. @throws CrossfadeError InvalidInput */
export function d1Reading(sql: Sql, params: readonly Value[]): Statement {
  const text = typeof sql === 'string' ? sql : sql.sqlite;
  if (isChanging(text)) refuseAsQuery(text);
  return d1Statement(sql, params);
}

interface Parameter {
  value: Statement['values'][number];
  /** How the text that is bound becomes the value. */
  cast?: 'INTEGER' | 'REAL';
}

function parameter(value: Value, index: number): Parameter {
  switch (typeof value) {
    case 'string':
      // As JSON, which D1 sends, has no lone surrogates.
      return { value: value.toWellFormed() };
    case 'boolean':
      return { value: value ? '1' : '0', cast: 'INTEGER' };
    case 'bigint':
      if (value < LEAST_INTEGER || value > GREATEST_INTEGER) {
        throw new CrossfadeError('InvalidInput', `parameter ${index + 1} is beyond 64 bits: ${value}`);
      }
      return { value: String(value), cast: 'INTEGER' };
    case 'number':
      return numberParameter(value);
    default:
      if (value === null || types.isUint8Array(value)) return { value };
      return refuse(value, index);
  }
}

function numberParameter(value: number): Parameter {
  // As SQLite stores it.
  if (Number.isNaN(value)) return { value: null };
  // JSON has neither of them.
  if (!Number.isFinite(value)) return { value: value > 0 ? '9e999' : '-9e999', cast: 'REAL' };
  if (Object.is(value, -0)) return { value: '-0.0', cast: 'REAL' };
  return Number.isSafeInteger(value) ? { value: String(value), cast: 'INTEGER' } : { value };
}
