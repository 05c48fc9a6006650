/**
 * Moments that the source keeps as texts of one form and the target as `timestamp` or `timestamptz`: the forms, and each
 * between the source's text and the text that PostgreSQL writes in ISO style.
 */
import type { ColumnKind, MomentKind } from '../contract.ts';
import { parsedInstant } from './instant.ts';

export type MomentType = 'timestamp' | 'timestamptz';

interface MomentForm {
  /** On the target. A zone other than UTC has no form: another offset comes back as another text. */
  type: MomentType;
  /** Between day and time. */
  separator: ' ' | 'T';
  /** Of the seconds' fraction, zeros included. */
  digits: 0 | 3 | 6;
  zone: '' | 'Z' | '+00:00' | ' +00:00';
}

function local(separator: MomentForm['separator'], digits: MomentForm['digits']): MomentForm {
  return { type: 'timestamp', separator, digits, zone: '' };
}

function zoned(
  separator: MomentForm['separator'],
  digits: MomentForm['digits'],
  zone: MomentForm['zone'],
): MomentForm {
  return { type: 'timestamptz', separator, digits, zone };
}

const FORMS: Record<MomentKind, MomentForm> = {
  timestamp: local(' ', 0),
  timestamp3: local(' ', 3),
  timestamp6: local(' ', 6),
  timestampT: local('T', 0),
  timestampT3: local('T', 3),
  timestampT6: local('T', 6),
  timestamptz: zoned('T', 3, 'Z'),
  timestamptzT: zoned('T', 0, 'Z'),
  timestamptzT6: zoned('T', 6, 'Z'),
  timestamptzOffset: zoned(' ', 0, '+00:00'),
  timestamptzOffset3: zoned(' ', 3, '+00:00'),
  timestamptzOffset6: zoned(' ', 6, '+00:00'),
  timestamptzOffsetT: zoned('T', 0, '+00:00'),
  timestamptzOffsetT3: zoned('T', 3, '+00:00'),
  timestamptzOffsetT6: zoned('T', 6, '+00:00'),
  timestamptzSpaced3: zoned(' ', 3, ' +00:00'),
};

/** The form that each type stands for in one database. */
export type HeldMoments = Record<MomentType, MomentKind>;

/** The forms of which a database's own comments say nothing. */
export const USUAL_MOMENTS: HeldMoments = { timestamp: 'timestamp', timestamptz: 'timestamptz' };

export const MOMENT_KINDS = Object.keys(FORMS) as MomentKind[];
export const MOMENT_TYPES: readonly MomentType[] = ['timestamp', 'timestamptz'];

/** YYYY-MM-DD HH:MM:SS, whatever stands between. */
const SECONDS = 19;

export function isMomentKind(kind: ColumnKind): kind is MomentKind {
  return kind in FORMS;
}

export function momentType(kind: MomentKind): MomentType {
  return FORMS[kind].type;
}

/** For a person to read, as `dateForm` does: YYYY-MM-DDTHH:MM:SS.SSSZ. */
export function momentForm(kind: MomentKind): string {
  const { separator, digits, zone } = FORMS[kind];
  return `YYYY-MM-DD${separator}HH:MM:SS${digits === 0 ? '' : `.${'S'.repeat(digits)}`}${zone}`;
}

/** Reverse of `momentForm`. */
export function momentKindOf(form: string): MomentKind | undefined {
  return MOMENT_KINDS.find((kind) => momentForm(kind) === form);
}

const PATTERNS = new Map(
  MOMENT_KINDS.map((kind) => [
    kind,
    new RegExp(
      `^${momentForm(kind)
        .replaceAll(/[.+]/g, '\\$&')
        .replaceAll(/[YMDHS]/g, '\\d')}$`,
    ),
  ]),
);

/** A text of this form, a date that exists, in the years 0001 to 9999. */
export function isMomentText(kind: MomentKind, text: string): boolean {
  if (!PATTERNS.get(kind)!.test(text) || text < '0001') return false;
  const iso = `${text.slice(0, SECONDS).replace(' ', 'T')}.000Z`;
  const at = Date.parse(iso);
  // A date that does not exist is none, or is read as another one.
  return !Number.isNaN(at) && new Date(at).toISOString() === iso;
}

/** A text of this form as PostgreSQL writes it, in UTC: no zeros at the end of a fraction. */
export function momentInput(kind: MomentKind, text: string): string {
  const { type, digits } = FORMS[kind];
  const end = digits === 0 ? SECONDS : SECONDS + 1 + digits;
  const plain = text.slice(0, end).replace('T', ' ');
  const short = digits === 0 ? plain : plain.replace(/\.?0*$/, '');
  return type === 'timestamptz' ? `${short}+00` : short;
}

/** The same, as SQL of SQLite over a column that `momentAdmitsSql` admits. */
export function momentSql(kind: MomentKind, name: string): string {
  const { type, separator, digits, zone } = FORMS[kind];
  let sql = name;
  if (zone !== '') sql = `substr(${sql}, 1, ${digits === 0 ? SECONDS : SECONDS + 1 + digits})`;
  // The point keeps the zeros of the seconds.
  if (digits > 0) sql = `rtrim(rtrim(${sql}, '0'), '.')`;
  if (separator === 'T') sql = `replace(${sql}, 'T', ' ')`;
  return type === 'timestamptz' ? `${sql} || '+00'` : sql;
}

/** What follows the seconds, as a pattern of GLOB. */
function tailGlob({ digits, zone }: MomentForm): string {
  return `${digits === 0 ? '' : `.${'[0-9]'.repeat(digits)}`}${zone}`;
}

/** SQL condition of SQLite: a text of this form? Days that do not exist, such as 2024-02-30, are left to PostgreSQL to refuse. */
export function momentAdmitsSql(kind: MomentKind, name: string): string {
  const form = FORMS[kind];
  // The length, because GLOB ends at a NUL.
  return (
    `(typeof(${name}) = 'text' AND octet_length(${name}) = ${momentForm(kind).length} ` +
    `AND ${name} GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]${form.separator}[0-2][0-9]:[0-5][0-9]:[0-5][0-9]${tailGlob(form)}' ` +
    `AND substr(${name}, 12, 2) < '24')`
  );
}

/** SQL condition of SQLite: does a column of this kind give the value back? */
export function momentFitsSql(kind: MomentKind, name: string): string {
  const form = FORMS[kind];
  const seconds = `substr(${name}, 1, ${SECONDS})`;
  const tail = tailGlob(form);
  // The length first, because it costs nothing. A result that equals the text itself proves both its shape and its
  // validity: 2024-02-30 comes back as 03-01. Only the modifier makes 24:00:00 come back as the next day; the plus keeps
  // '0001' from being compared as a number.
  return (
    `(octet_length(${name}) = ${momentForm(kind).length} AND typeof(${name}) = 'text' ` +
    (tail === '' ? '' : `AND substr(${name}, ${SECONDS + 1}) GLOB '${tail}' `) +
    `AND strftime('%Y-%m-%d${form.separator}%H:%M:%S', ${seconds}, '+0 days') = ${seconds} AND +${name} >= '0001')`
  );
}

/**
 * What PostgreSQL wrote in ISO style, in whatever time zone, as a text of this form; more digits of the fraction only
 * where there are some. Null for infinity, years before 1 or after 9999, which the target's CHECK keeps out until the
 * way back ends.
 */
export function momentText(kind: MomentKind, text: string): string | null {
  const { type, separator, digits, zone } = FORMS[kind];
  const found = parsedInstant(type === 'timestamptz' ? text : `${text}+00`);
  if (found === null) return null;
  const micros = `${String(((found.ms % 1000) + 1000) % 1000).padStart(3, '0')}${found.beyond.padEnd(3, '0')}`;
  const least = micros.endsWith('000') ? (micros === '000000' ? 0 : 3) : 6;
  const shown = Math.max(digits, least);
  const seconds = new Date(found.ms).toISOString().slice(0, SECONDS).replace('T', separator);
  return `${seconds}${shown === 0 ? '' : `.${micros.slice(0, shown)}`}${zone}`;
}

/** The text of this form, as SQL of PostgreSQL. Not to_char(), which depends on the session's language. */
export function momentTextSql(kind: MomentKind, sql: string): string {
  const { type, separator, digits, zone } = FORMS[kind];
  const at = type === 'timestamptz' ? `(${sql} AT TIME ZONE 'UTC')` : sql;
  // A field of seconds would be rounded, so the fraction is taken off first.
  const whole = digits === 0 ? at : `date_trunc('second', ${at})`;
  const unit = digits === 3 ? 'milliseconds' : 'microseconds';
  const fraction = `lpad((extract(${unit} FROM ${at})::int % 1${'0'.repeat(digits)})::text, ${digits}, '0')`;
  return [
    dayText(at),
    `'${separator}'`,
    timeText(whole),
    ...(digits === 0 ? [] : [`'.'`, fraction]),
    ...(zone === '' ? [] : [`'${zone}'`]),
  ].join(' || ');
}

/** A field of a date or timestamp as digits, at least so many. */
export function fieldText(field: string, digits: number, sql: string): string {
  return `lpad(extract(${field} FROM ${sql})::int::text, ${digits}, '0')`;
}

export function dayText(sql: string): string {
  return [fieldText('year', 4, sql), fieldText('month', 2, sql), fieldText('day', 2, sql)].join(
    " || '-' || ",
  );
}

export function timeText(sql: string): string {
  return [fieldText('hour', 2, sql), fieldText('minute', 2, sql), fieldText('second', 2, sql)].join(
    " || ':' || ",
  );
}

/** A pattern of to_char() that writes the form. */
export function momentPattern(kind: MomentKind): string {
  const { separator, digits, zone } = FORMS[kind];
  const fraction = { 0: '', 3: '.MS', 6: '.US' }[digits];
  return `YYYY-MM-DD"${separator}"HH24:MI:SS${fraction}${zone === '' ? '' : `"${zone}"`}`;
}

/** Condition on the target: can the value go back? @param c the column, quoted */
export function momentCheck(kind: MomentKind, c: string): string {
  const { type, digits } = FORMS[kind];
  const zone = type === 'timestamptz' ? '+00' : '';
  const last = `9999-12-31 23:59:59${digits === 0 ? '' : `.${'9'.repeat(digits)}`}`;
  const bounds = `${c} BETWEEN '0001-01-01 00:00:00${zone}' AND '${last}${zone}'`;
  // PostgreSQL has no more than six digits.
  if (digits === 6) return bounds;
  return `${bounds} AND ${c} = date_trunc('${digits === 0 ? 'second' : 'milliseconds'}', ${c})`;
}

/** SQL of PostgreSQL: the moment of the statement, as a column of this kind holds it. */
export function momentNow(kind: MomentKind): string {
  const { type, digits } = FORMS[kind];
  const now = type === 'timestamptz' ? 'statement_timestamp()' : `(statement_timestamp() AT TIME ZONE 'UTC')`;
  return `date_trunc('${digits === 0 ? 'second' : 'milliseconds'}', ${now})`;
}

/** The kind of what SQLite's strftime() writes by this format; undefined for no form of ours. */
export function momentOfFormat(format: string): MomentKind | undefined {
  return MOMENT_KINDS.find((kind) => {
    const { separator, digits, zone } = FORMS[kind];
    // %f has three digits.
    return digits !== 6 && format === `%Y-%m-%d${separator}%H:%M:${digits === 0 ? '%S' : '%f'}${zone}`;
  });
}
