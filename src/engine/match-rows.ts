/** Matches rows as SQLite's encoding returns them with those that the target sends, byte by byte, as they arrive. */
import type { ColumnPlan } from '../contract.ts';
import { isNonce } from '../databases/sqlite/copy-buffer.ts';
import { CELL, NONCE, NULL_MARK, ROW } from '../databases/sqlite/encode.ts';
import { sameCell } from './compare.ts';

const TAB = 0x09;
const LINE_FEED = 0x0a;
const QUOTE = 0x02;

/**
 * Options of the COPY whose rows can be matched. CSV, because it writes every value as it is, but for one with a special
 * character, which it quotes; text format would write a backslash as two, and two backslashes are a value as well. NULL
 * is nothing at all, an empty text is two quotes.
 */
export const MATCHED_FORMAT = `(FORMAT csv, DELIMITER E'\\t', QUOTE E'\\x02', NULL '')`;

/**
 * Are these the same rows in the same order?
 *
 * Neither side's structure is trusted to a text of the source. Every row of the target has as many cells as the table
 * has columns, and each of its separators is met by one byte of the source: by CELL or ROW, or by a text's own tab; but
 * for the end of the last row, which is met by the end. The source has at least a CELL or ROW between any two cells of
 * its rows, and more where a text is not valid UTF-8. So with equal numbers of rows, both texts can only end together if
 * each separator has met its own.
 */
export class RowMatcher {
  private readonly columns: ColumnPlan[];
  private readonly source: Buffer;
  private readonly rows: number;
  private at = 0;
  private matched = 0;
  private differs = false;

  /** @param rows how many rows `source` is */
  constructor(columns: ColumnPlan[], source: Buffer, rows: number) {
    this.columns = columns;
    this.source = source;
    this.rows = rows;
  }

  /** Whether all rows have been met, by no other. False also where only a closer look can tell. */
  get same(): boolean {
    return !this.differs && this.matched === this.rows && this.at === this.source.length;
  }

  /** @param line the target's next row, with its line feed */
  match(line: Buffer): void {
    if (this.differs) return;
    const at = line[line.length - 1] === LINE_FEED ? this.endOf(line) : -1;
    if (at < 0) this.differs = true;
    else {
      this.matched++;
      this.at = at;
    }
  }

  /** Where the source's row ends that is the same; -1 where it is not. */
  private endOf(line: Buffer): number {
    const { source } = this;
    const end = line.length - 1;
    let i = this.at;
    let j = 0;
    for (let column = 0; ; column++) {
      const first = line[j]!;
      if (first === TAB || j === end) {
        if (source[i] !== NULL_MARK || !isNonce(source, i + 1)) return -1;
        i += 1 + NONCE.length;
      } else if (first === QUOTE) {
        for (j++; line[j] !== QUOTE || line[++j] === QUOTE; j++) {
          if (j >= end || source[i++] !== line[j]) return -1;
        }
      } else {
        const [startI, startJ] = [i, j];
        while (j < end && source[i] === line[j]) {
          i++;
          j++;
        }
        if (!isEnd(source[i]) || (j < end && line[j] !== TAB)) {
          // A mark would be read as a number that is none, which PostgreSQL has as well: NaN.
          if (source[startI] === NULL_MARK) return -1;
          const [endI, endJ] = [sourceEnd(source, i), lineEnd(line, j)];
          const [a, b] = [source.toString('latin1', startI, endI), line.toString('latin1', startJ, endJ)];
          if (!this.sameNumber(column, a, b)) return -1;
          [i, j] = [endI, endJ];
        }
      }
      if (j === end) break;
      if (source[i++] !== CELL || line[j++] !== TAB) return -1;
    }
    // No ROW follows the last row: one there is a byte of a text that is not valid UTF-8.
    if (this.matched === this.rows - 1) return i === source.length ? i : -1;
    return source[i] === ROW ? i + 1 : -1;
  }

  /** The same number in two spellings? */
  private sameNumber(column: number, source: string, target: string): boolean {
    const one = this.columns[column];
    if (one?.kind !== 'double' && one?.kind !== 'numeric') return false;
    return sameCell(one, source, target);
  }
}

function isEnd(byte: number | undefined): boolean {
  return byte === CELL || byte === ROW || byte === undefined;
}

function sourceEnd(source: Buffer, from: number): number {
  let end = from;
  while (!isEnd(source[end])) end++;
  return end;
}

function lineEnd(line: Buffer, from: number): number {
  let end = from;
  while (end < line.length - 1 && line[end] !== TAB) end++;
  return end;
}
