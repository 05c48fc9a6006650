/**
 * Values of D1 through JSON, exactly: JSON rounds integers beyond 2^53, has no infinities, no negative zero and no
 * bytes. Reals travel as JSON numbers, which D1 writes exactly (CAST … AS TEXT gives 15 digits before SQLite 3.53), everything
 * else as text that begins with a letter for its class.
 */
import { InvalidText, mayBeInvalid } from '../invalid-text.ts';
import type { KeyValue } from '../key.ts';
import type { JsonCell } from './client.ts';

/** Longer values are fetched in slices: their hexadecimal digits would pass D1's 2 MB per value. */
export const SLICE_BYTES = 500_000;

/** A value that no cell holds, or a text whose characters JSON may have replaced: its bytes are still to be fetched. */
export class Unfetched {}

/** SQL of a value's cell. @param name SQL of the value */
export function cellSql(name: string): string {
  return (
    `CASE typeof(${name}) WHEN 'integer' THEN 'i' || ${name} ` +
    `WHEN 'real' THEN iif(${name} = 0 OR ${name} IN (9e999, -9e999), iif(${name} = 0, 'z', 'f') || (atan2(${name}, -1.0) < 0), ${name}) ` +
    `WHEN 'text' THEN iif(octet_length(${name}) > ${SLICE_BYTES}, 'T' || octet_length(${name}), 't' || ${name}) ` +
    `WHEN 'blob' THEN iif(length(${name}) > ${SLICE_BYTES}, 'B' || length(${name}), 'b' || hex(${name})) END`
  );
}

/** SQL of a part of a long value as hexadecimal digits. @param from byte, counted from 0 */
export function sliceSql(name: string, from: number): string {
  return `hex(substr(CAST(${name} AS BLOB), ${from + 1}, ${SLICE_BYTES}))`;
}

/** Reverse of `cellSql`. */
export function cellValue(cell: JsonCell): KeyValue | Unfetched {
  if (cell === null || typeof cell === 'number') return cell;
  const body = cell.slice(1);
  switch (cell[0]) {
    case 'i':
      return BigInt(body);
    case 'z':
      return body === '1' ? -0 : 0;
    case 'f':
      return body === '1' ? -Infinity : Infinity;
    case 'b':
      return Buffer.from(body, 'hex');
    case 'T':
    case 'B':
      return new Unfetched();
    default:
      return mayBeInvalid(body) ? new Unfetched() : body;
  }
}

/** SQL that is this very value, for conditions: parameters would arrive as REAL or text. */
export function exactSql(value: KeyValue): string {
  if (value === null) return 'NULL';
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return realSql(value);
  if (typeof value === 'string') return `CAST(x'${Buffer.from(value).toString('hex')}' AS TEXT)`;
  if (value instanceof InvalidText) return `CAST(x'${value.bytes.toString('hex')}' AS TEXT)`;
  return `x'${value.toString('hex')}'`;
}

/** A double as a product of exact factors: SQLite before 3.53 misreads some decimal spellings by an ulp. */
function realSql(value: number): string {
  if (value === Infinity) return '9e999';
  if (value === -Infinity) return '-9e999';
  if (value === 0) return Object.is(value, -0) ? '(0.0 * -1.0)' : '0.0';
  const bits = new BigUint64Array(new Float64Array([Math.abs(value)]).buffer)[0]!;
  const exponent = Number(bits >> 52n);
  const fraction = bits & 0xfffffffffffffn;
  const whole = exponent === 0 ? fraction : fraction | 0x10000000000000n;
  let power = (exponent === 0 ? 1 : exponent) - 1075;
  // Integers become doubles exactly, and so does every product on the way: only the last may be subnormal.
  let sql = real(value < 0 ? -whole : whole);
  for (; power > 0; power -= Math.min(power, FACTOR_BITS))
    sql += ` * ${real(1n << BigInt(Math.min(power, FACTOR_BITS)))}`;
  for (; power < 0; power += Math.min(-power, FACTOR_BITS))
    sql += ` / ${real(1n << BigInt(Math.min(-power, FACTOR_BITS)))}`;
  return `(${sql})`;
}

const FACTOR_BITS = 52;

function real(integer: bigint): string {
  return `CAST(${integer} AS REAL)`;
}
