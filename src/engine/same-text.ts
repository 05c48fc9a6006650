/** Compares rows as SQLite's encoding returns them with the target's COPY text, in one pass over both. */
import type { TablePlan } from '../contract.ts';
import { ACTIONS, isNonce } from '../databases/sqlite/copy-buffer.ts';
import { CELL, NONCE, NULL_MARK, ROW } from '../databases/sqlite/encode.ts';
import type { RawRows } from '../databases/sqlite/raw-rows.ts';
import { sameCell } from './compare.ts';

const TAB = 0x09;
const LINE_FEED = 0x0a;
const BACKSLASH = 0x5c;
const LETTER_N = 0x4e;

/**
 * Are these the same rows in the same order? A text that is not valid UTF-8 is never the same: it would add a cell or a
 * row, and every line of the target has as many cells as the table has columns.
 * @returns false also where only a closer look can tell
 */
export function sameText({ columns }: TablePlan, source: RawRows, target: Buffer): boolean {
  let j = 0;
  for (const { data } of source.parts) {
    const end = data.length;
    let column = 0;
    /** Where the cell began. */
    let [startI, startJ] = [0, j];
    for (let i = 0; i < end;) {
      const byte = data[i]!;
      const action = ACTIONS[byte]!;
      if (action === 0) {
        if (target[j] === byte) {
          i++;
          j++;
          continue;
        }
      } else if (byte === CELL || byte === ROW) {
        if (target[j] === (byte === CELL ? TAB : LINE_FEED)) {
          i++;
          j++;
          column = byte === CELL ? column + 1 : 0;
          [startI, startJ] = [i, j];
          continue;
        }
      } else if (byte === NULL_MARK) {
        if (i !== startI || !isNonce(data, i + 1)) return false;
        if (target[j] !== BACKSLASH || target[j + 1] !== LETTER_N) return false;
        i += 1 + NONCE.length;
        j += 2;
        continue;
      } else {
        if (target[j] !== BACKSLASH || target[j + 1] !== action) return false;
        i++;
        j += 2;
        continue;
      }
      // Two spellings of one number?
      [i, j] = [sourceEnd(data, startI), targetEnd(target, startJ)];
      const [a, b] = [data.toString('latin1', startI, i), target.toString('latin1', startJ, j)];
      const one = columns[column];
      if (one === undefined || !isNumber(a) || !isNumber(b) || !sameCell(one, a, b)) return false;
      // Where the cells end together, what ends them has to be the same: the loop would come back here for ever.
      if (i < end && target[j] !== (data[i] === CELL ? TAB : LINE_FEED)) return false;
    }
    if (target[j] !== LINE_FEED) return false;
    j++;
  }
  return j === target.length;
}

/** Digits, or Infinity: nothing that the two texts would escape. */
function isNumber(cell: string): boolean {
  const first = cell.charCodeAt(0);
  return (first >= 0x30 && first <= 0x39) || first === 0x2d || first === 0x49;
}

function sourceEnd(data: Buffer, from: number): number {
  let end = from;
  while (end < data.length && data[end] !== CELL && data[end] !== ROW) end++;
  return end;
}

function targetEnd(text: Buffer, from: number): number {
  let end = from;
  while (end < text.length && text[end] !== TAB && text[end] !== LINE_FEED) end++;
  return end;
}
