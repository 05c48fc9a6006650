/** Column defaults: what SQLite would store, and the SQL that makes PostgreSQL store the same. */
import Database from 'better-sqlite3';
import type { ColumnKind } from '../contract.ts';
import { literal } from '../databases/identifiers.ts';
import { mayBeInvalid } from '../databases/invalid-text.ts';
import { canonicalJson } from '../databases/json-value.ts';
import { instantText } from '../databases/instant.ts';
import { keyInput, UUID } from '../databases/key.ts';
import { MIXED_NUMBER, mixedText } from '../databases/mixed.ts';
import { isMomentKind, isMomentText, momentType } from '../databases/moment.ts';
import type { Affinity } from '../databases/sqlite/affinity.ts';
import { isKeyword, isOperator, tokenize, unwrapped, type Token } from '../databases/sqlite/tokens.ts';
import { changingForms, type Forms } from './changing-defaults.ts';
import { isDateText } from './date-text.ts';

/**
 * `none`: NULL. `constant`: the value with the storage class that the column gives it. `changing`: another value at
 * each insert, with SQL for the kinds that can hold it. `unknown`: no certain meaning on PostgreSQL.
 */
export type SourceDefault =
  | { type: 'none' }
  | { type: 'constant'; value: bigint | number | string | Buffer }
  | { type: 'changing'; sql: Forms }
  | { type: 'unknown' };

/** @param text the DEFAULT as SQLite's pragma gives it, null where there is none */
export function readDefault(text: string | null, affinity: Affinity): SourceDefault {
  if (text === null) return { type: 'none' };
  const tokens = tokenize(text);
  if (tokens === null || tokens.length === 0) return { type: 'unknown' };
  if (isConstant(tokens)) return evaluated(text, tokens, affinity);
  const sql = changingForms(text, unwrapped(tokens), affinity);
  return sql === null ? { type: 'unknown' } : { type: 'changing', sql };
}

/**
 * SQL of the default for a column of this kind.
 * @returns null where there is no default, undefined where the kind cannot hold it
 */
export function defaultSql(
  value: SourceDefault,
  kind: ColumnKind,
  affinity: Affinity,
): string | null | undefined {
  switch (value.type) {
    case 'none':
      return null;
    case 'constant':
      return constantSql(value.value, kind, affinity);
    case 'changing':
      return kind === 'mixed' ? mixedForm(value.sql, affinity) : value.sql[kind];
    case 'unknown':
      return undefined;
  }
}

/** The form for a column of several storage classes. A number is assigned to it as its digits, which is how it stands there. */
function mixedForm(forms: Forms, affinity: Affinity): string | undefined {
  const { text, bigint } = forms;
  const isDay = Object.keys(forms).some((kind) => kind === 'date' || isMomentKind(kind as ColumnKind));
  if (text === undefined || isDay || affinity !== 'BLOB') return text ?? bigint;
  // A text of digits would be taken for a number, see `mixed.ts`.
  return `regexp_replace(${text}, ${literal(`(${MIXED_NUMBER})`)}, '\\\\s\\1')`;
}

/** SQLite's functions that give the same for the same arguments, whatever the time, the connection and the data. */
const PURE = new Set(
  (
    'abs char coalesce concat concat_ws format hex unhex ifnull iif if instr length lower ltrim max min nullif octet_length ' +
    'printf quote replace round rtrim sign substr substring trim typeof unicode unistr upper zeroblob ' +
    'json jsonb json_array json_object json_quote json_valid ceil ceiling floor trunc pow power sqrt mod pi exp ln log log10 log2'
  ).split(' '),
);
/** Words that may stand before a parenthesis without being a function. */
const NO_CALL = new Set(
  'CAST AND OR NOT IN IS CASE WHEN THEN ELSE BETWEEN LIKE GLOB ESCAPE DISTINCT FROM'.split(' '),
);

/** Literals, operators and functions of them; a bare or quoted name alone is a string to SQLite. */
function isConstant(tokens: Token[]): boolean {
  if (tokens.length === 1 && tokens[0]!.kind === 'quoted') return true;
  if (tokens.some((token) => isKeyword(token, 'CURRENT_TIMESTAMP', 'CURRENT_DATE', 'CURRENT_TIME')))
    return false;
  // Another word inside an expression is a keyword or the name of a type: SQLite allows no columns in a default.
  return tokens.every((token, i) => {
    if (token.kind === 'quoted' || token.kind === 'variable') return false;
    if (token.kind !== 'word' || !isOperator(tokens[i + 1], '(')) return true;
    return PURE.has(token.text.toLowerCase()) || NO_CALL.has(token.text.toUpperCase());
  });
}

/** SQLite itself says what it stores: in a database of its own, so that only the affinity matters. */
function evaluated(text: string, tokens: Token[], affinity: Affinity): SourceDefault {
  const scratch = new Database(':memory:');
  try {
    // A name alone is a string only without parentheses; the line break ends a comment that the text may end with.
    const expression = tokens.length === 1 ? tokens[0]!.text : `(${text}\n)`;
    scratch.exec(`CREATE TABLE d (v ${affinity} DEFAULT ${expression}, i)`);
    scratch.exec(`INSERT INTO d (i) VALUES (1)`);
    const value = scratch.prepare('SELECT v FROM d').pluck().safeIntegers().get() as
      bigint | number | string | Buffer | null;
    return value === null ? { type: 'none' } : { type: 'constant', value };
  } catch {
    // An expression that SQLite refuses now was never evaluated either, or inserts fail there too.
    return { type: 'unknown' };
  } finally {
    scratch.close();
  }
}

function constantSql(
  value: bigint | number | string | Buffer,
  kind: ColumnKind,
  affinity: Affinity,
): string | undefined {
  if (kind === 'mixed') {
    const text = mixedText(value, affinity !== 'TEXT');
    return mayBeInvalid(value) ? undefined : literal(text);
  }
  if (typeof value === 'bigint') return integerSql(value, kind, affinity);
  if (typeof value === 'number') return realSql(value, kind);
  if (typeof value === 'string') return textSql(value, kind);
  return kind === 'bytea' ? `'\\x${value.toString('hex')}'::bytea` : undefined;
}

function integerSql(value: bigint, kind: ColumnKind, affinity: Affinity): string | undefined {
  if (kind === 'bigint' || kind === 'numeric' || kind === 'integer')
    return keyInput(value, { kind }) ?? undefined;
  if (kind === 'instant') return instantDefault(value);
  // Without an affinity the integer stays one, which a double would not give back.
  if (kind === 'double' && affinity !== 'BLOB' && BigInt(Number(value)) === value) return String(value);
  if (kind === 'boolean' && (value === 0n || value === 1n)) return String(value === 1n);
  return undefined;
}

function instantDefault(value: bigint): string | undefined {
  const text = instantText(value);
  return text === null ? undefined : `${literal(text)}::timestamptz`;
}

function realSql(value: number, kind: ColumnKind): string | undefined {
  if (kind === 'double') return `'${value}'::double precision`;
  const decimal = Math.abs(value) < 2 ** 51 && Number(value.toPrecision(15)) === value;
  return kind === 'numeric' && decimal ? `'${value}'::numeric` : undefined;
}

function textSql(value: string, kind: ColumnKind): string | undefined {
  if (value.includes('\0') || value.includes('\ufffd')) return undefined;
  if (kind === 'text') return literal(value);
  if (kind === 'uuid' && UUID.test(value)) return `${literal(value)}::uuid`;
  if (isMomentKind(kind) && isMomentText(kind, value)) return `${literal(value)}::${momentType(kind)}`;
  if (kind === 'date' && isDateText(value)) return `${literal(value)}::date`;
  if (kind === 'json' && isJsonText(value)) return `${literal(value)}::json`;
  if (kind === 'jsonb' && canonicalJson(value) !== null) return `${literal(value)}::jsonb`;
  return undefined;
}

function isJsonText(value: string): boolean {
  try {
    return typeof JSON.parse(value) !== 'number';
  } catch {
    return false;
  }
}
