/** The application's SQL as each driver takes it: the text of its dialect, `?` turned into `$1`, `$2`, … for PostgreSQL. */
import type { Sql } from '../databases/adapter.ts';
import { CrossfadeError } from '../errors.ts';
import { Cache } from './cache.ts';

const CACHED_TEXTS = 1_000;

/** Ends or opens a transaction by hand, which would leave a pooled connection in the middle of one. */
const TRANSACTION_CONTROL =
  /^(?:\s|--[^\n]*\n|\/\*[^]*?\*\/)*(?:begin|start|commit|end|rollback|abort|savepoint|release|prepare\s+transaction)\b/i;

/**
 * @throws CrossfadeError InvalidInput for BEGIN, COMMIT and their like
 */
export function refuseTransactionControl(text: string): void {
  if (TRANSACTION_CONTROL.test(text)) {
    throw new CrossfadeError(
      'InvalidInput',
      `"${text.trim().slice(0, 40)}" would leave its connection inside a transaction: use transaction() or batch()`,
    );
  }
}

/** What holds no placeholder and no keyword: strings, quoted names, comments. */
const OPAQUE = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|\/\*[^]*?\*\//g;
const NUMBERED = /(?<![\w$?])[?$]\d/;

/** Are the parameters of a statement for SQLite written `?1` or `$1`? better-sqlite3 takes those by name. */
export function numbersParameters(text: string): boolean {
  return NUMBERED.test(text) && NUMBERED.test(text.replaceAll(OPAQUE, ' '));
}

const CHANGING = /^\W*(?:insert|update|delete|merge|replace|truncate|create|alter|drop|copy)\b/i;
const CHANGING_WITHIN = /^\W*with\b[^]*\b(?:insert\s+into|delete\s+from|merge\s+into|update\b[^]*?\bset)\b/i;

/** Does the statement change rows or the schema, as far as its words tell? */
export function isChanging(text: string): boolean {
  const plain = text.replaceAll(OPAQUE, ' ');
  return CHANGING.test(plain) || CHANGING_WITHIN.test(plain);
}

export function refuseAsQuery(text: string): never {
  throw new CrossfadeError(
    'InvalidInput',
    `query() is for statements that only read: use write() for "${text.trim().slice(0, 60)}"`,
  );
}

const readings = new Cache<string, string>(CACHED_TEXTS);

/** As `postgresText`, for a statement that is to change nothing. @throws CrossfadeError InvalidInput */
export function postgresReadingText(sql: Sql): string {
  const text = typeof sql === 'string' ? sql : sql.postgres;
  const known = readings.get(text);
  if (known !== undefined) return known;
  if (isChanging(text)) refuseAsQuery(text);
  const translated = postgresText(text);
  readings.set(text, translated);
  return translated;
}

const translations = new Cache<string, string>(CACHED_TEXTS);

/** The statement for PostgreSQL, `?` replaced. @throws CrossfadeError InvalidInput for transaction control */
export function postgresText(sql: Sql): string {
  const text = typeof sql === 'string' ? sql : sql.postgres;
  const known = translations.get(text);
  if (known !== undefined) return known;
  refuseTransactionControl(text);
  const translated = numberPlaceholders(text);
  translations.set(text, translated);
  return translated;
}

/** Everything in which PostgreSQL's lexer would not see a `?` as an operator of its own. */
const TOKENS = {
  plain: /[^?'"\-/$\w\u0080-\uffff]+/y,
  // Words take the quote that follows E with them; a $ may stand inside a word, where it opens no dollar quote.
  word: /[\w\u0080-\uffff][\w$\u0080-\uffff]*/y,
  string: /'[^']*(?:''[^']*)*'/y,
  // After a line break a string goes on, in its own kind: E'a' ⏎ 'b\'c'.
  escaped: /'[^'\\]*(?:(?:\\[^]|'')[^'\\]*)*'/y,
  continued: /(?:[ \t\f\v]|--[^\r\n]*)*[\r\n](?:\s|--[^\r\n]*[\r\n])*(?=')/y,
  name: /"[^"]*(?:""[^"]*)*"/y,
  lineComment: /--[^\r\n]*/y,
  dollarTag: /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y,
} as const;

/**
 * Replaces each `?` outside of strings, quoted names, comments and dollar quotes by `$n`. `?3` becomes `$3`, as SQLite
 * numbers it, and `??` a single `?`, for operators that are written so.
 */
export function numberPlaceholders(text: string): string {
  if (!text.includes('?')) return text;
  let at = 0;
  let out = '';
  let count = 0;
  const take = (token: RegExp): string | undefined => {
    token.lastIndex = at;
    const found = token.exec(text)?.[0];
    if (found !== undefined) {
      out += found;
      at += found.length;
    }
    return found;
  };
  const takeAll = (end: number): void => {
    out += text.slice(at, end);
    at = end;
  };
  const takeString = (token: RegExp): void => {
    // An unterminated string is the server's to refuse.
    if (take(token) === undefined) return takeAll(text.length);
    if (take(TOKENS.continued) !== undefined) takeString(token);
  };

  while (at < text.length) {
    if (take(TOKENS.plain) !== undefined) continue;
    const char = text[at];
    if (char === '?') {
      if (text[at + 1] === '?') {
        out += '?';
        at += 2;
        continue;
      }
      const number = /\d*/y;
      number.lastIndex = at + 1;
      const digits = number.exec(text)?.[0] ?? '';
      if (digits === '') count += 1;
      else count = Math.max(count, Number(digits));
      out += `$${digits === '' ? count : Number(digits)}`;
      at += 1 + digits.length;
    } else if (char === "'") takeString(TOKENS.string);
    else if (char === '"') {
      if (take(TOKENS.name) === undefined) takeAll(text.length);
    } else if (char === '-') {
      if (take(TOKENS.lineComment) === undefined) takeAll(at + 1);
    } else if (char === '/') takeAll(endOfComment(text, at));
    else if (char === '$') {
      const tag = take(TOKENS.dollarTag);
      if (tag === undefined) takeAll(at + 1);
      else {
        const end = text.indexOf(tag, at);
        takeAll(end === -1 ? text.length : end + tag.length);
      }
    } else {
      const word = take(TOKENS.word);
      if ((word === 'e' || word === 'E') && text[at] === "'") takeString(TOKENS.escaped);
    }
  }
  return out;
}

/** Index after the comment that begins at `at`, which may hold others; after the `/` where none begins. */
function endOfComment(text: string, at: number): number {
  if (text[at + 1] !== '*') return at + 1;
  const marks = /\/\*|\*\//g;
  marks.lastIndex = at;
  let depth = 0;
  for (let mark = marks.exec(text); mark !== null; mark = marks.exec(text)) {
    depth += mark[0] === '/*' ? 1 : -1;
    if (depth === 0) return marks.lastIndex;
  }
  return text.length;
}
