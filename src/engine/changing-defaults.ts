/** Defaults that give another value at each insert, such as the time or random bytes, as PostgreSQL computes them alike. */
import type { ColumnKind } from '../contract.ts';
import { literal } from '../databases/identifiers.ts';
import { momentNow, momentOfFormat } from '../databases/moment.ts';
import type { Affinity } from '../databases/sqlite/affinity.ts';
import { closing, isKeyword, isOperator, splitTopLevel, type Token } from '../databases/sqlite/tokens.ts';
import { called, type Call } from './expression-functions.ts';
import { madeText, Uncertain, value, type Node, type ValueNode } from './expression-nodes.ts';
import type { ColumnLookup } from './expression-parser.ts';
import { translateDefault } from './expressions.ts';

/** SQLite's "now" is the time of the statement, in UTC, without fractions where the form has none. */
const NOW = `(statement_timestamp() AT TIME ZONE 'UTC')`;
const EPOCH = `floor(extract(epoch FROM statement_timestamp()))::bigint`;
const EPOCH_MS = `floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint`;
/** 32 random bytes. */
const RANDOM = `sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))`;

/** SQL of the default by the kinds of column that can hold it. */
export type Forms = Partial<Record<ColumnKind, string>>;

const DATETIME: Forms = {
  timestamp: `date_trunc('second', ${NOW})`,
  text: toChar('YYYY-MM-DD HH24:MI:SS'),
  // A text in the source, which does not fit milliseconds there; on the target the column has one form.
  instant: 'statement_timestamp()',
};
const DATE: Forms = { date: `${NOW}::date`, text: toChar('YYYY-MM-DD') };
const TIME: Forms = { text: toChar('HH24:MI:SS') };

function toChar(pattern: string): string {
  return `to_char(${NOW}, ${literal(pattern)})`;
}

function integerForms(sql: string, affinity: Affinity): Forms {
  if (affinity === 'TEXT') return { text: `(${sql})::text` };
  return affinity === 'BLOB' ? { bigint: sql } : { bigint: sql, integer: sql, numeric: sql, double: sql };
}

/**
 * Forms of a default that gives another value at each insert; null where its meaning is not certain.
 * @param text the whole expression @param tokens of it, without parentheses around the whole
 */
export function changingForms(text: string, tokens: Token[], affinity: Affinity): Forms | null {
  if (tokens.length === 1) {
    if (isKeyword(tokens[0], 'CURRENT_TIMESTAMP')) return DATETIME;
    if (isKeyword(tokens[0], 'CURRENT_DATE')) return DATE;
    if (isKeyword(tokens[0], 'CURRENT_TIME')) return TIME;
  }
  return (
    dateForms(tokens, affinity) ??
    epochForms(tokens, affinity) ??
    randomForms(tokens) ??
    translatedForms(text, affinity)
  );
}

/** By the translation of expressions, with functions that change in it. */
function translatedForms(text: string, affinity: Affinity): Forms | null {
  const forms = translateDefault(text, clock, affinity, CALLS);
  // A form with a check holds only some of the values.
  const certain = forms?.filter((form) => form.check === undefined) ?? [];
  return certain.length === 0 ? null : Object.fromEntries(certain.map(({ kind, sql }) => [kind, sql]));
}

const clock: ColumnLookup = (name) => {
  const sql = {
    CURRENT_TIMESTAMP: `date_trunc('second', ${NOW})`,
    CURRENT_DATE: `date_trunc('day', ${NOW})`,
  }[name.toUpperCase()];
  if (sql === undefined) return undefined;
  const kind = name.toUpperCase() === 'CURRENT_DATE' ? 'date' : 'timestamp';
  return { name, kind, collation: 'BINARY', sql: kind === 'date' ? `(${sql})::date` : sql };
};

const dated =
  (name: string): Call =>
  (args) =>
    called(name, [moment(args)]);

const CALLS: Record<string, Call> = {
  random: (args) => {
    if (args.length > 0) throw new Uncertain();
    return value('bigint', `('x' || encode(substring(${RANDOM} FROM 1 FOR 8), 'hex'))::bit(64)::bigint`);
  },
  randomblob: (args) => {
    const [size] = args;
    if (args.length !== 1 || size?.type !== 'literal' || size.literal.kind !== 'number')
      throw new Uncertain();
    const bytes = Number(size.literal.text);
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > 32) throw new Uncertain();
    return value('bytea', `substring(${RANDOM} FROM 1 FOR ${bytes})`);
  },
  julianday: (args) => {
    // SQLite's days are milliseconds, divided once; 210866760000000 is 1970.
    if (args.length > 1 || (args.length === 1 && !isNowText(args[0]!))) throw new Uncertain();
    return value('double', `((${EPOCH_MS} + 210866760000000)::double precision / 86400000)`, { real: true });
  },
  date: dated('date'),
  datetime: (args) => {
    const [last] = args.slice(-1);
    if (args.length === 2 && isNowText(args[0]!) && isSubsecond(last!)) {
      return madeText(toChar('YYYY-MM-DD HH24:MI:SS.MS'));
    }
    return dated('datetime')(args);
  },
  time: dated('time'),
  unixepoch: (args) => {
    const [last] = args.slice(-1);
    if (
      last !== undefined &&
      isSubsecond(last) &&
      (args.length === 1 || isNowText(args[0]!)) &&
      args.length < 3
    ) {
      return value('double', `(${EPOCH_MS}::double precision / 1000)`, { real: true });
    }
    return dated('unixepoch')(args);
  },
  strftime: ([format, ...args]) => {
    if (format === undefined) throw new Uncertain();
    return called('strftime', [format, moment(args)]);
  },
};

function stringOf(node: Node): string | null {
  return node.type === 'literal' && node.literal.kind === 'string' ? node.literal.value.toLowerCase() : null;
}

function isNowText(node: Node): boolean {
  return stringOf(node) === 'now';
}

function isSubsecond(node: Node): boolean {
  return ['subsec', 'subsecond'].includes(stringOf(node) ?? '');
}

/** The moment that a date function is about: now, or a date of its own, with the modifiers that both databases count alike. */
function moment([at, ...modifiers]: Node[]): Node {
  let node: ValueNode;
  if (at === undefined || isNowText(at)) node = value('timestamp', `date_trunc('second', ${NOW})`);
  else if (at.type === 'value' && (at.kind === 'timestamp' || at.kind === 'date')) node = at;
  else throw new Uncertain();
  for (const modifier of modifiers) {
    const text = stringOf(modifier) ?? '';
    // Months and years are left out: their last days are counted otherwise.
    const span = /^ *([+-]?\d{1,6}) +(second|minute|hour|day)s? *$/.exec(text);
    const start = /^start of (day|month|year)$/.exec(text);
    if (span !== null) node = value('timestamp', `(${node.sql} + interval '${span[1]!} ${span[2]!}')`);
    else if (start !== null) node = value('timestamp', `date_trunc('${start[1]!}', ${node.sql})`);
    else throw new Uncertain();
  }
  return node;
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
    if (part === '%%') pattern += '"%"';
    else if (directive !== undefined) pattern += directive;
    else if (part[0] !== '%' && !/["\\]/.test(part)) pattern += `"${part}"`;
    else return null;
  }
  const moment = momentOfFormat(format);
  return { ...(moment === undefined ? {} : { [moment]: momentNow(moment) }), text: toChar(pattern) };
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
  if (is(`(?:${factor} \\* 1000|1000 \\* ${factor})`)) {
    return {
      ...integerForms(`${EPOCH} * 1000`, affinity),
      instant: `date_trunc('second', statement_timestamp())`,
    };
  }
  if (is(`cast \\( ${days} \\* 86400000(?:\\.0)? as \\w*int\\w* \\)`))
    return { ...integerForms(EPOCH_MS, affinity), instant: 'statement_timestamp()' };
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
