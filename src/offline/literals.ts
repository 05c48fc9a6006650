/** Brings an INSERT of a dump into a form that SQLite reads with every value as it was: what dumps write and SQLite does not take. */
import { isUtf8 } from 'node:buffer';

const [QUOTE, DOUBLE, BACKTICK, OPEN, CLOSE] = [0x27, 0x22, 0x60, 0x5b, 0x5d];
const [DASH, SLASH, STAR] = [0x2d, 0x2f, 0x2a];
const INFINITY = Buffer.from('Infinity');
/** What SQLite's own dumps write; its reader has no infinity. */
const INFINITY_SQL = '9e999';

/**
 * The statement as a string: texts with a NUL, at which SQLite would stop reading, or that are not UTF-8, which a
 * string cannot hold, as the bytes that they are; `Infinity` as a number.
 * @returns null where something other than a text is not UTF-8
 */
export function readable(sql: Buffer): string | null {
  const parts: string[] = [];
  let from = 0;
  const flush = (to: number): boolean => {
    const plain = sql.subarray(from, to);
    if (!isUtf8(plain) || plain.includes(0)) return false;
    parts.push(plain.toString('utf8'));
    return true;
  };
  for (let i = 0; i < sql.length; i++) {
    const byte = sql[i]!;
    if (byte === QUOTE) {
      const end = endOfQuoted(sql, i);
      const text = sql.subarray(i + 1, end - 1);
      if (text.includes(0) || !isUtf8(text)) {
        if (!flush(i)) return null;
        const value = Buffer.from(text.toString('latin1').replaceAll("''", "'"), 'latin1');
        parts.push(`CAST(x'${value.toString('hex')}' AS TEXT)`);
        from = end;
      }
      i = end - 1;
    } else if (byte === DOUBLE || byte === BACKTICK || byte === OPEN) {
      i = endOfQuoted(sql, i) - 1;
    } else if (byte === DASH && sql[i + 1] === DASH) {
      i = endAfter(sql, '\n', i) - 1;
    } else if (byte === SLASH && sql[i + 1] === STAR) {
      i = endAfter(sql, '*/', i + 2) - 1;
    } else if (byte === INFINITY[0] && isBare(sql, i)) {
      if (!flush(i)) return null;
      parts.push(INFINITY_SQL);
      from = i + INFINITY.length;
      i = from - 1;
    }
  }
  return flush(sql.length) ? parts.join('') : null;
}

function endAfter(sql: Buffer, mark: string, from: number): number {
  const at = sql.indexOf(mark, from);
  return at === -1 ? sql.length : at + mark.length;
}

/** Offset after the token that begins at `at`; the end of the text where it has no end. */
function endOfQuoted(sql: Buffer, at: number): number {
  const closing = sql[at] === OPEN ? CLOSE : sql[at]!;
  for (let end = sql.indexOf(closing, at + 1); end !== -1; end = sql.indexOf(closing, end + 2)) {
    if (closing === CLOSE || sql[end + 1] !== closing) return end + 1;
  }
  return sql.length;
}

/** Integers that stand in the statement as such and are beyond 2^53, where JavaScript's numbers have gaps. */
export function countBeyondDoubles(sql: Buffer): number {
  const text = sql.toString('latin1').replaceAll(/'[^']*'|"[^"]*"/g, "''");
  const found = text.match(/(?<![\w.$])\d{16,}(?![\w.$])/g) ?? [];
  return found.filter((digits) => BigInt(digits) > BigInt(Number.MAX_SAFE_INTEGER)).length;
}

function isBare(sql: Buffer, at: number): boolean {
  const end = at + INFINITY.length;
  return sql.subarray(at, end).equals(INFINITY) && !isNameByte(sql[at - 1]) && !isNameByte(sql[end]);
}

function isNameByte(byte: number | undefined): boolean {
  return byte !== undefined && (byte >= 0x80 || /[A-Za-z0-9_$]/.test(String.fromCharCode(byte)));
}
