/** Rows of a view as one number that does not depend on their order: equal on both databases where the rows are. */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { instantMs } from '../databases/instant.ts';
import { InvalidText } from '../databases/invalid-text.ts';
import { DIGITS_ARE_TEXT_MODIFIER, mixedValue } from '../databases/mixed.ts';
import { momentText, type HeldMoments } from '../databases/moment.ts';

/** A value in a form that both databases' are brought to. */
export type Cell = string | number;

/** Numbers of PostgreSQL's types, see router/values.ts. */
const OID = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int4: 23,
  float8: 701,
  varchar: 1043,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
};
/** Type modifier of timestamptz(3), which stands for milliseconds. */
const MILLISECONDS = 3;

/** @param value as better-sqlite3 gives it, texts as their bytes @param type of SQLite's typeof() */
export function sourceCell(type: unknown, value: unknown): Cell {
  if (value === null || value === undefined) return '-';
  if (typeof value === 'bigint') return `n${value}`;
  if (typeof value === 'number') return numberCell(value);
  const bytes = Buffer.from(value as Uint8Array);
  return type === 'text' ? textCell(bytes) : `b${bytes.toString('hex')}`;
}

/**
 * @param text as PostgreSQL sends it @param type its number in the catalogue @param modifier of the type, -1 for none
 * @param moments the forms of dates
 */
export function targetCell(text: string | null, type: number, modifier: number, moments: HeldMoments): Cell {
  if (text === null) return '-';
  switch (type) {
    case OID.bool:
      return text === 't' ? 'n1' : 'n0';
    case OID.int4:
    case OID.int8:
      return `n${text}`;
    case OID.numeric:
      return /^-?\d+(\.0+)?$/.test(text) ? `n${text.replace(/\.0+$/, '')}` : numberCell(Number(text));
    case OID.float8:
      return numberCell(Number(text));
    case OID.bytea:
      return `b${text.slice(2)}`;
    case OID.timestamp:
      return `t${momentText(moments.timestamp, text)}`;
    case OID.timestamptz:
      return modifier === MILLISECONDS ? `n${instantMs(text)}` : `t${momentText(moments.timestamptz, text)}`;
    case OID.varchar:
      return mixedCell(mixedValue(text, modifier !== DIGITS_ARE_TEXT_MODIFIER));
    default:
      return `t${text}`;
  }
}

function mixedCell(value: ReturnType<typeof mixedValue>): Cell {
  if (typeof value === 'string') return `t${value}`;
  return value instanceof InvalidText ? textCell(value.bytes) : sourceCell('', value);
}

function textCell(bytes: Buffer): Cell {
  return isUtf8(bytes) ? `t${bytes.toString('utf8')}` : `i${bytes.toString('hex')}`;
}

/** An integral real is the same as the integer: on the target a column has one type. */
function numberCell(value: number): Cell {
  return Number.isInteger(value) && !Object.is(value, -0) ? `n${BigInt(value)}` : value;
}

/** Sums of reals are compared in steps of this size, relative to the value. */
const STEP = 1e-9;
/** Several ways to lay the steps, because one may part two values that are next to each other. */
const WAYS = 8;
const MODULUS = 1n << 128n;
/** Rows kept to name one that differs. */
const KEPT = 1_000;

export class RowSet {
  rows = 0;
  /** The first ones, as they are compared. */
  private readonly kept = new Set<string>();
  private readonly sums: bigint[];
  private readonly approximate: boolean[];

  /** @param approximate of each column */
  constructor(approximate: boolean[]) {
    this.approximate = approximate;
    this.sums = Array.from({ length: approximate.includes(true) ? WAYS : 1 }, () => 0n);
  }

  add(cells: Cell[]): void {
    this.rows++;
    for (let way = 0; way < this.sums.length; way++) {
      const row = this.text(cells, way);
      if (way === 0 && this.kept.size < KEPT) this.kept.add(row);
      const hash = createHash('sha256').update(row).digest();
      const number = (hash.readBigUInt64LE(0) << 64n) | hash.readBigUInt64LE(8);
      this.sums[way] = (this.sums[way]! + number) % MODULUS;
    }
  }

  private text(cells: Cell[], way: number): string {
    return JSON.stringify(
      cells.map((cell, i) => (this.approximate[i] === true ? step(cell, way / WAYS) : exact(cell))),
    );
  }

  equals(other: RowSet): boolean {
    return this.rows === other.rows && this.sums.some((sum, way) => sum === other.sums[way]);
  }

  /** A row that the other does not have, null where it is not among those kept. */
  example(other: RowSet): string | null {
    if (this.rows > KEPT || other.rows > KEPT) return null;
    return [...this.kept].find((row) => !other.kept.has(row)) ?? null;
  }
}

/** The bits of a number tell it from any other. */
function exact(cell: Cell): string {
  if (typeof cell === 'string') return cell;
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(cell);
  return `d${bytes.toString('hex')}`;
}

/** The step that a number falls into, on a scale of its logarithm. */
function step(cell: Cell, offset: number): string {
  if (typeof cell === 'string' && !cell.startsWith('n')) return cell;
  const value = typeof cell === 'string' ? Number(cell.slice(1)) : cell;
  if (!Number.isFinite(value)) return exact(value);
  // What has cancelled out may be zero on one side and next to it on the other.
  if (Math.abs(value) < STEP) return 's0';
  return `s${Math.sign(value)} ${Math.floor(Math.log(Math.abs(value)) / STEP + offset)}`;
}
