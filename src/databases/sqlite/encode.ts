/**
 * Encodes rows inside SQLite: one query returns many rows as one buffer, which `CopyBuffer` turns into PostgreSQL's COPY
 * text format (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format"). No JavaScript value per cell.
 *
 * In the buffer, cells are separated by byte FF, rows by FE, and NULL is FD with a random nonce: none of these bytes
 * occurs in UTF-8, so text that is not valid UTF-8 is found out rather than mistaken for structure.
 */
import { randomBytes } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { ColumnPlan, TablePlan } from '../../contract.ts';
import { CrossfadeError } from '../../errors.ts';
import { literal, quoted } from '../identifiers.ts';
import { FIRST_INSTANT, instantSql, LAST_INSTANT } from '../instant.ts';
import { canonicalJsonBytes } from '../json-value.ts';
import { DIGITS_ARE_TEXT, isMistaken, isPlainText } from '../mixed.ts';
import { isMomentKind, momentAdmitsSql, momentSql } from '../moment.ts';
import { makesIntegers } from './affinity.ts';

export const CELL = 0xff;
export const ROW = 0xfe;
export const NULL_MARK = 0xfd;
/** A run's nonce: a text that equals the NULL mark would have to guess it. No byte of structure is in it, so that these can be searched for. */
export const NONCE = Buffer.from(randomBytes(6).map((byte) => byte % NULL_MARK));
export const NULL_SQL = `x'fd${NONCE.toString('hex')}'`;

/** The integral reals above this keep their storage class in a NUMERIC column, so integer and real would mix (sqlite3RealSameAsInt). */
const REAL_AS_INTEGER_LIMIT = 2251799813685248;

/** Below this a real has fewer than 15 digits, so that the 15 that are written are not the shortest that give it back. */
const LEAST_NORMAL = '2.2250738585072014e-308';

/** Of a real: do 15 digits write it exactly, and does PostgreSQL's numeric give it back as a REAL? @param c SQL of the value */
export function isDecimalSql(c: string): string {
  // Not abs(): it fails on the least integer, which SQLite may evaluate before the class.
  return (
    `(${c} > -${REAL_AS_INTEGER_LIMIT}.0 AND ${c} < ${REAL_AS_INTEGER_LIMIT}.0 ` +
    `AND (${c} = 0 OR ${c} NOT BETWEEN -${LEAST_NORMAL} AND ${LEAST_NORMAL}) AND CAST(format('%.15g', ${c}) AS REAL) = ${c})`
  );
}

/** Reals beyond this are not made integers (sqlite3VdbeIntegerAffinity). */
const LARGEST_INTEGER = '9223372036854774784';

/** How a column's values leave SQLite: as text for COPY, and only while `admits` holds. */
export interface CellSql {
  /** The value as text; never evaluated for NULL. */
  text: string;
  /** True for every value that the column's kind holds exactly, NULL left aside. */
  admits: string;
}

export function cellSql(column: ColumnPlan, name: string, inKey: boolean): CellSql {
  if (isMomentKind(column.kind)) {
    return { text: momentSql(column.kind, name), admits: momentAdmitsSql(column.kind, name) };
  }
  switch (column.kind) {
    case 'bigint':
      return { text: name, admits: `typeof(${name}) = 'integer'` };
    case 'integer':
    case 'uuid':
      return { text: name, admits: admitsSql(column.kind, name) };
    case 'instant':
      return { text: instantSql(name), admits: admitsSql(column.kind, name) };
    case 'double':
      // format() loses the sign of zero, which a column without REAL affinity keeps.
      return {
        text: `iif(${name} = 0 AND atan2(${name}, -1.0) < 0, '-0', format('%!.17g', ${name}))`,
        // Where the column makes an integer of every integral real, both classes come back from one double.
        admits: makesIntegers(column)
          ? `(typeof(${name}) = 'real' OR typeof(${name}) = 'integer' AND CAST(${name} AS REAL) = ${name} ` +
            `AND ${name} BETWEEN -${LARGEST_INTEGER} AND ${LARGEST_INTEGER})`
          : `typeof(${name}) = 'real'`,
      };
    case 'numeric':
      return {
        text: `iif(typeof(${name}) = 'integer', ${name}, format('%.15g', ${name}))`,
        admits: `(typeof(${name}) = 'integer' OR typeof(${name}) = 'real' AND ${isDecimalSql(name)})`,
      };
    case 'boolean':
      return {
        text: `iif(${name}, 't', 'f')`,
        admits: `(typeof(${name}) = 'integer' AND ${name} IN (0, 1))`,
      };
    case 'text':
    case 'json':
      return { text: name, admits: `typeof(${name}) = 'text'` };
    case 'jsonb':
      return { text: name, admits: `(typeof(${name}) = 'text' AND ${canonicalJsonSql(name)} IS NOT NULL)` };
    case 'mixed':
      // See `keyInput`.
      return {
        text: mixedSql(name, column.targetType !== DIGITS_ARE_TEXT),
        admits: inKey ? `typeof(${name}) <> 'real'` : `${name} IS NOT NULL`,
      };
    case 'bytea':
      return { text: `'\\x' || lower(hex(${name}))`, admits: `typeof(${name}) = 'blob'` };
    case 'date':
      return {
        text: name,
        admits: `(typeof(${name}) = 'text' AND ${name} GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]')`,
      };
  }
}

/** SQL condition: would a column of this kind give back the value? */
export function admitsSql(kind: 'integer' | 'instant' | 'uuid', name: string): string {
  switch (kind) {
    case 'integer':
      return `(typeof(${name}) = 'integer' AND ${name} BETWEEN -2147483648 AND 2147483647)`;
    case 'instant':
      return `(typeof(${name}) = 'integer' AND ${name} BETWEEN ${FIRST_INSTANT} AND ${LAST_INSTANT})`;
    case 'uuid':
      return `(typeof(${name}) = 'text' AND octet_length(${name}) = 36 AND ${name} GLOB '${UUID_GLOB}')`;
  }
}

const UUID_GLOB = [8, 4, 4, 4, 12].map((digits) => '[0-9a-f]'.repeat(digits)).join('-');

/** Our function in SQLite that is `isPlainText`. */
export const IS_PLAIN_TEXT = 'crossfade_is_plain_text';

const IS_MISTAKEN = 'crossfade_is_mistaken';

const CANONICAL_JSON = 'crossfade_canonical_json';

/** SQL of a text's canonical form as JSON; NULL where jsonb cannot hold it. */
export function canonicalJsonSql(name: string): string {
  return `${CANONICAL_JSON}(CAST(${name} AS BLOB))`;
}

/** Gives a connection the functions that our SQL calls, as `openSource` does. */
export function defineFunctions(db: Database.Database): void {
  db.function(IS_PLAIN_TEXT, { deterministic: true }, (bytes) => Number(isPlainText(bytes as Buffer)));
  db.function(IS_MISTAKEN, { deterministic: true }, (text, numbers) =>
    Number(isMistaken(text as string, numbers === 1)),
  );
  db.function(CANONICAL_JSON, { deterministic: true }, (bytes) =>
    bytes === null ? null : canonicalJsonBytes(bytes as Buffer),
  );
}

/** The fewest digits that give the double back, as JavaScript writes it: conditions on the target compare the text. */
function shortestSql(name: string): string {
  const enough = [15, 16].map(
    (digits) =>
      `WHEN CAST(format('%!.${digits}g', ${name}) AS REAL) = ${name} THEN format('%!.${digits}g', ${name})`,
  );
  return `${enough.join(' ')} ELSE format('%!.17g', ${name})`;
}

/** See `mixed.ts`, whose rule is asked of every text that begins as marks do or that SQLite can read as a number. */
function mixedSql(name: string, numbers: boolean): string {
  const suspicious = `substr(${name}, 1, 1) = '\\'${numbers ? ` OR +${name} = CAST(${name} AS NUMERIC)` : ''}`;
  return (
    `CASE typeof(${name}) WHEN 'integer' THEN ${name} ` +
    `WHEN 'real' THEN CASE WHEN ${name} IN (9e999, -9e999) THEN '\\r' || ${name} ` +
    `WHEN ${name} = 0 AND atan2(${name}, -1.0) < 0 THEN '-0.0' ${shortestSql(name)} END ` +
    `WHEN 'blob' THEN '\\x' || lower(hex(${name})) ` +
    `ELSE CASE WHEN NOT ${IS_PLAIN_TEXT}(CAST(${name} AS BLOB)) THEN '\\t' || lower(hex(${name})) ` +
    `WHEN (${suspicious}) AND ${IS_MISTAKEN}(${name}, ${Number(numbers)}) THEN '\\s' || ${name} ELSE ${name} END END`
  );
}

/** Joins SQL terms pairwise, so that the expression's depth grows with the logarithm of the columns. */
export function balanced(terms: string[], operator: string): string {
  if (terms.length === 1) return terms[0]!;
  const middle = terms.length >> 1;
  return `(${balanced(terms.slice(0, middle), operator)} ${operator} ${balanced(terms.slice(middle), operator)})`;
}

/**
 * SQL of one row's cells; NULL where a value is not what the column's kind holds, so that an aggregate leaves the row
 * out and the difference of two counts tells.
 * @param alias table alias that qualifies the columns
 */
export function rowSql(table: TablePlan, alias: string): string {
  const cells = table.columns.map((column) => {
    const name = `${alias}.${quoted(column.name)}`;
    const cell = cellSql(column, name, table.key.includes(column.name));
    // A misfit matches neither branch; its NULL makes the whole row's concatenation NULL.
    return `CASE WHEN ${cell.admits} THEN ${cell.text} WHEN ${name} IS NULL THEN ${NULL_SQL} END`;
  });
  return balanced(cells, "|| x'ff' ||");
}

/** SQL that names the columns because of which `rowSql` leaves a row out, with the storage class that each value has. */
export function misfitsSql(table: TablePlan, alias: string): string {
  const terms = table.columns.map((column) => {
    const name = `${alias}.${quoted(column.name)}`;
    const { admits } = cellSql(column, name, table.key.includes(column.name));
    const told = literal(`, column ${quoted(column.name)} (${column.targetType}) has a value of class `);
    return `CASE WHEN ${admits} OR ${name} IS NULL THEN '' ELSE ${told} || typeof(${name}) END`;
  });
  return `substr(${balanced(terms, '||')}, 3)`;
}

/** SQL of the aggregate that turns the rows `r` of a subquery into one buffer. */
export const ROWS_AS_BUFFER = `CAST(group_concat(r, x'fe') AS BLOB)`;

/**
 * Proves on this SQLite library that doubles leave it exactly; versions before 3.53 are off by an ulp at extreme exponents.
 * @throws CrossfadeError EncoderInexact
 */
export function proveEncoder(db: Database.Database): void {
  const bits = new BigUint64Array(1);
  const double = new Float64Array(bits.buffer);
  const encode = db.prepare(`SELECT format('%!.17g', ?)`).pluck();
  for (let i = 0; i < 2_000; i++) {
    randomBytes(8).copy(Buffer.from(bits.buffer));
    const value = i === 0 ? 5e-324 : i === 1 ? Number.MAX_VALUE : double[0]!;
    if (!Number.isFinite(value)) continue;
    if (Number(encode.get(value)) !== value) {
      throw new CrossfadeError(
        'EncoderInexact',
        `this SQLite library cannot write ${value} exactly as text: use the better-sqlite3 that crossfade depends on`,
      );
    }
  }
}
