/** Column defaults: what SQLite would store, and the SQL that makes PostgreSQL store the same. */
import Database from 'better-sqlite3';
import type { ColumnKind } from '../contract.ts';
import { literal } from '../databases/identifiers.ts';
import { mayBeInvalid } from '../databases/invalid-text.ts';
import { canonicalJson } from '../databases/json-value.ts';
import { mixedText } from '../databases/mixed.ts';
import type { Affinity } from '../databases/sqlite/affinity.ts';
import {
  closing,
  isKeyword,
  isOperator,
  splitTopLevel,
  tokenize,
  unwrapped,
  type Token,
} from '../databases/sqlite/tokens.ts';
import { isDatetimeText, isDateText } from './date-text.ts';

/**
 * `none`: NULL. `constant`: the value with the storage class that the column gives it. `changing`: another value at
 * each insert, with SQL for the kinds that can hold it. `unknown`: no certain meaning on PostgreSQL.
 */
export type SourceDefault =
  | { type: 'none' }
  | { type: 'constant'; value: bigint | number | string | Buffer }
  | { type: 'changing'; sql: Partial<Record<ColumnKind, string>> }
  | { type: 'unknown' };

/** @param text the DEFAULT as SQLite's pragma gives it, null where there is none */
export function readDefault(text: string | null, affinity: Affinity): SourceDefault {
  if (text === null) return { type: 'none' };
  const tokens = tokenize(text);
  if (tokens === null || tokens.length === 0) return { type: 'unknown' };
  if (isConstant(tokens)) return evaluated(text, tokens, affinity);
  const sql = changing(unwrapped(tokens), affinity);
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
      // A number is assigned to the text column as its digits, which is how it stands there.
      return kind === 'mixed' ? (value.sql.text ?? value.sql.bigint) : value.sql[kind];
    case 'unknown':
      return undefined;
  }
}

/** Literals and operators only; a bare or quoted name alone is a string to SQLite. */
function isConstant(tokens: Token[]): boolean {
  if (tokens.length === 1 && tokens[0]!.kind === 'quoted') return true;
  if (tokens.length === 1 && tokens[0]!.kind === 'word') {
    return !isKeyword(tokens[0], 'CURRENT_TIMESTAMP', 'CURRENT_DATE', 'CURRENT_TIME');
  }
  return tokens.every(
    (token) =>
      ['string', 'blob', 'number', 'operator'].includes(token.kind) ||
      isKeyword(token, 'TRUE', 'FALSE', 'NULL'),
  );
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
    const text = mixedText(value);
    return mayBeInvalid(value) ? undefined : literal(text);
  }
  if (typeof value === 'bigint') return integerSql(value, kind, affinity);
  if (typeof value === 'number') return realSql(value, kind);
  if (typeof value === 'string') return textSql(value, kind);
  return kind === 'bytea' ? `'\\x${value.toString('hex')}'::bytea` : undefined;
}

function integerSql(value: bigint, kind: ColumnKind, affinity: Affinity): string | undefined {
  if (kind === 'bigint' || kind === 'numeric') return String(value);
  // Without an affinity the integer stays one, which a double would not give back.
  if (kind === 'double' && affinity !== 'BLOB' && BigInt(Number(value)) === value) return String(value);
  if (kind === 'boolean' && (value === 0n || value === 1n)) return String(value === 1n);
  return undefined;
}

function realSql(value: number, kind: ColumnKind): string | undefined {
  if (kind === 'double') return `'${value}'::double precision`;
  const decimal = Math.abs(value) < 2 ** 51 && Number(value.toPrecision(15)) === value;
  return kind === 'numeric' && decimal ? `'${value}'::numeric` : undefined;
}

function textSql(value: string, kind: ColumnKind): string | undefined {
  if (value.includes('\0') || value.includes('\ufffd')) return undefined;
  if (kind === 'text') return literal(value);
  if (kind === 'timestamp' && isDatetimeText(value)) return `${literal(value)}::timestamp`;
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

/** SQLite's "now" is the time of the statement, in UTC, without fractions where the form has none. */
const NOW = `(statement_timestamp() AT TIME ZONE 'UTC')`;
const EPOCH = `floor(extract(epoch FROM statement_timestamp()))::bigint`;
const EPOCH_MS = `floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint`;
/** 32 random bytes. */
const RANDOM = `sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))`;

type Forms = Partial<Record<ColumnKind, string>>;

const DATETIME: Forms = { timestamp: `date_trunc('second', ${NOW})`, text: toChar('YYYY-MM-DD HH24:MI:SS') };
const DATE: Forms = { date: `${NOW}::date`, text: toChar('YYYY-MM-DD') };
const TIME: Forms = { text: toChar('HH24:MI:SS') };

function toChar(pattern: string): string {
  return `to_char(${NOW}, ${literal(pattern)})`;
}

function integerForms(sql: string, affinity: Affinity): Forms {
  if (affinity === 'TEXT') return { text: `(${sql})::text` };
  return affinity === 'BLOB' ? { bigint: sql } : { bigint: sql, numeric: sql, double: sql };
}

function changing(tokens: Token[], affinity: Affinity): Forms | null {
  if (tokens.length === 1) {
    if (isKeyword(tokens[0], 'CURRENT_TIMESTAMP')) return DATETIME;
    if (isKeyword(tokens[0], 'CURRENT_DATE')) return DATE;
    if (isKeyword(tokens[0], 'CURRENT_TIME')) return TIME;
  }
  return dateForms(tokens, affinity) ?? epochForms(tokens, affinity) ?? randomForms(tokens);
}

/** The name of a call in lower case with the tokens of its arguments, where the tokens are nothing but that call. */
function callOf(tokens: Token[]): { name: string; args: Token[][] } | null {
  if (tokens[0]?.kind !== 'word' || !isOperator(tokens[1], '(') || closing(tokens, 1) !== tokens.length - 1)
    return null;
  const inner = tokens.slice(2, -1);
  return { name: tokens[0].text.toLowerCase(), args: inner.length === 0 ? [] : splitTopLevel(inner) };
}

function isNow(arg: Token[] | undefined): boolean {
  if (arg === undefined) return true;
  if (arg.length !== 1) return false;
  return (
    isKeyword(arg[0], 'CURRENT_TIMESTAMP') ||
    (arg[0]!.kind === 'string' && arg[0]!.value.toLowerCase() === 'now')
  );
}

function dateForms(tokens: Token[], affinity: Affinity): Forms | null {
  const call = callOf(tokens);
  if (call === null) return null;
  const { name, args } = call;
  if (
    name === 'strftime' &&
    args.length <= 2 &&
    args[0]?.length === 1 &&
    args[0][0]!.kind === 'string' &&
    isNow(args[1])
  ) {
    return formattedForms(args[0][0]!.value, affinity);
  }
  if (args.length > 1 || !isNow(args[0])) return null;
  return name === 'datetime' ? DATETIME : name === 'date' ? DATE : name === 'time' ? TIME : null;
}

const TO_CHAR: Record<string, string> = {
  Y: 'YYYY',
  m: 'MM',
  d: 'DD',
  H: 'HH24',
  M: 'MI',
  S: 'SS',
  f: 'SS.MS',
  j: 'DDD',
  F: 'YYYY-MM-DD',
  T: 'HH24:MI:SS',
  R: 'HH24:MI',
};

function formattedForms(format: string, affinity: Affinity): Forms | null {
  if (format === '%Y-%m-%d %H:%M:%S') return DATETIME;
  if (format === '%Y-%m-%d') return DATE;
  const keepsText = affinity === 'TEXT' || affinity === 'BLOB';
  const fixed = format.replace(/%./g, '');
  // Elsewhere digits alone would become a number: a separator between them keeps it from that.
  if (!keepsText && !(format.startsWith('%') && /[-:/TZ]/.test(fixed))) return null;
  const parts = format.match(/%[^]|[^%]+/g) ?? [];
  let pattern = '';
  for (const part of parts) {
    const directive = part[0] === '%' ? TO_CHAR[part[1]!] : undefined;
    if (directive !== undefined) pattern += directive;
    else if (part[0] !== '%' && !/["\\]/.test(part)) pattern += `"${part}"`;
    else return null;
  }
  return { text: toChar(pattern) };
}

/** Seconds or milliseconds since 1970, in the spellings that schemas use. */
function epochForms(tokens: Token[], affinity: Affinity): Forms | null {
  const text = tokens.map(spelled).join(' ');
  const now = `(?: 'now')?`;
  const secondsText = `strftime \\( '%s'(?: , 'now')? \\)`;
  const seconds = `(?:unixepoch \\(${now} \\)|cast \\( ${secondsText} as \\w*int\\w* \\))`;
  const days = `\\( julianday \\(${now} \\) - 2440587\\.5 \\)`;
  const is = (pattern: string): boolean => new RegExp(`^${pattern}$`).test(text);
  if (is(secondsText))
    return affinity === 'BLOB' ? { text: `(${EPOCH})::text` } : integerForms(EPOCH, affinity);
  if (is(seconds)) return integerForms(EPOCH, affinity);
  const factor = `(?:${seconds}|\\( ${seconds} \\)|${secondsText})`;
  if (is(`(?:${factor} \\* 1000|1000 \\* ${factor})`)) return integerForms(`${EPOCH} * 1000`, affinity);
  if (is(`cast \\( ${days} \\* 86400000(?:\\.0)? as \\w*int\\w* \\)`))
    return integerForms(EPOCH_MS, affinity);
  return null;
}

/** Lower case but for strings, whose case may matter: '%s' is not '%S'. */
function spelled(token: Token): string {
  if (token.kind !== 'string') return token.text.toLowerCase();
  return token.value.toLowerCase() === 'now' ? `'now'` : token.text;
}

/** Random blobs of up to 32 bytes, as blob or in hex. */
function randomForms(tokens: Token[]): Forms | null {
  const text = tokens.map((token) => token.text.toLowerCase()).join(' ');
  const match = /^(lower \( )?(hex \( )?randomblob \( (\d+) \)( \))?( \))?$/.exec(text);
  const bytes = Number(match?.[3]);
  if (match === null || bytes < 1 || bytes > 32) return null;
  const [lower, hex] = [match[1] !== undefined, match[2] !== undefined];
  if (lower && !hex) return null;
  const random = `substring(${RANDOM} FROM 1 FOR ${bytes})`;
  if (!hex) return { bytea: random };
  return { text: lower ? `encode(${random}, 'hex')` : `upper(encode(${random}, 'hex'))` };
}
