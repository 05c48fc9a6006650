/**
 * Chooses how a source column is held on the target: the first kind, in an order that the declared type sets, that
 * gives back every value found and the column's default, with its storage class.
 */
import type { OverrideType } from '../choices.ts';
import type { ColumnKind, MomentKind } from '../contract.ts';
import { isMomentKind, MOMENT_KINDS, momentForm, momentType } from '../databases/moment.ts';
import type { Affinity } from '../databases/sqlite/affinity.ts';
import type { ColumnFacts } from '../databases/sqlite/census.ts';
import { isBoolean, isDate, isDatetime, isDecimal, isJson } from '../databases/sqlite/declared.ts';
import { DIGITS_ARE_TEXT, MOST_BYTES } from '../databases/mixed.ts';
import type { SourceColumn } from '../databases/sqlite/schema.ts';
import { defaultSql, type SourceDefault } from './defaults.ts';

export const TARGET_TYPES: Record<ColumnKind, OverrideType> = {
  bigint: 'bigint',
  integer: 'integer',
  double: 'double precision',
  numeric: 'numeric',
  boolean: 'boolean',
  text: 'text',
  bytea: 'bytea',
  json: 'json',
  jsonb: 'jsonb',
  instant: 'timestamptz(3)',
  uuid: 'uuid',
  date: 'date',
  mixed: 'varchar',
  ...(Object.fromEntries(MOMENT_KINDS.map((kind) => [kind, momentType(kind)])) as Record<
    MomentKind,
    OverrideType
  >),
};

/** SQL of the type that holds the column as a kind. */
export function targetType(kind: ColumnKind, { column, facts }: ColumnCase): string {
  const digitsAreText = kind === 'mixed' && column.affinity === 'TEXT' && facts.longest <= MOST_BYTES;
  return digitsAreText ? DIGITS_ARE_TEXT : TARGET_TYPES[kind];
}

/** A column with what the choice depends on. */
export interface ColumnCase {
  column: SourceColumn;
  facts: ColumnFacts;
  default: SourceDefault;
  /** Part of a key, an index or a foreign key: PostgreSQL's json cannot be compared. */
  indexed: boolean;
  /** Part of the key by which rows are copied and found. */
  keyed: boolean;
  /** The rowid under this name, which SQLite keeps to integers. */
  rowid: boolean;
  /** Of a STRICT table: SQLite refuses other storage classes than that of the declared type. */
  strict: boolean;
}

/** What stands against every kind. */
interface Obstacle {
  code: 'mixed-classes' | 'inexact-number' | 'override';
  /** Values that stand against it; absent where it is not the values. */
  count?: number;
  /** What was found, without the column's name. */
  what: string;
  /** What the operator can do. */
  remedy: string;
}

export interface Choice {
  kind: ColumnKind;
  why: string;
  /** Present where no kind holds every value. */
  obstacle?: Obstacle;
  /** The form of dates that other columns have, because of which this one is not held as its own; see `settleMoments`. */
  beside?: MomentKind;
}

/** Number of the column's values, NULL aside. */
export function valueCount(facts: ColumnFacts): number {
  return facts.integers + facts.reals + facts.texts + facts.blobs;
}

/** @param except kinds that it must not be held as */
export function chooseKind(subject: ColumnCase, except: readonly ColumnKind[] = []): Choice {
  const order = preferredKinds(subject).filter((kind) => !except.includes(kind));
  const holding = order.filter((kind) => holds(kind, subject) && isTold(kind, subject));
  const kind = preferred(holding, subject);
  if (kind !== undefined) return { kind, why: reason(kind, subject) };
  const obstacle = obstacleOf(subject.facts);
  return { kind: order[0]!, why: obstacle.what, obstacle };
}

/** The first kind that holds the default too, else the first. */
export function preferred(kinds: ColumnKind[], subject: ColumnCase): ColumnKind | undefined {
  const withDefault = kinds.filter((candidate) => holdsDefault(candidate, subject));
  // Where NULL is not allowed, every insert that relies on a lost default would fail: one text for both classes is better.
  return withDefault.find((candidate) => candidate !== 'mixed' || subject.column.notNull) ?? kinds[0];
}

/** Does the kind give back every value of the column, and what the source may hold there later? */
export function holds(kind: ColumnKind, subject: ColumnCase): boolean {
  return impossible(kind, subject) === null && fittingCount(kind, subject) === valueCount(subject.facts);
}

/** Number of the column's values that the kind gives back, with their storage class. */
export function fittingCount(kind: ColumnKind, { column, facts, keyed }: ColumnCase): number {
  if (isMomentKind(kind)) return facts[kind];
  switch (kind) {
    case 'bigint':
      return facts.integers;
    case 'boolean':
      return facts.bits;
    case 'numeric':
      return facts.integers + facts.decimals;
    case 'double':
      // A NUMERIC column makes an integer of every integral real by itself, so one double stands for both classes.
      return isNumeric(column) ? facts.integers + facts.reals - facts.beyondDouble : facts.reals;
    case 'text':
      return facts.texts - facts.nulTexts - facts.invalidTexts;
    case 'json':
      return Math.max(0, facts.jsons - facts.invalidTexts);
    case 'jsonb':
      return facts.jsonValues;
    case 'integer':
    case 'instant':
    case 'uuid':
      return facts.asked;
    case 'date':
      return facts.dates;
    case 'bytea':
      return facts.blobs;
    case 'mixed':
      // A real has no certain spelling, by which a row could be found again.
      return valueCount(facts) - (keyed ? facts.reals : 0);
  }
}

/** Affinities by which SQLite would store a value of the kind in another storage class. */
const CONVERTING: Partial<Record<ColumnKind, Affinity[]>> = {
  bigint: ['TEXT', 'REAL'],
  integer: ['TEXT', 'REAL'],
  instant: ['TEXT', 'REAL'],
  boolean: ['TEXT', 'REAL'],
  // Without an affinity 5 and 5.0 are two values.
  numeric: ['TEXT', 'REAL', 'BLOB'],
  double: ['TEXT'],
};

const STRICT_KINDS: Partial<Record<Affinity, ColumnKind[]>> = {
  INTEGER: ['bigint', 'integer', 'boolean', 'instant', 'mixed'],
  REAL: ['double', 'mixed'],
  TEXT: ['text', 'json', 'jsonb', 'date', 'uuid', 'mixed', ...MOMENT_KINDS],
};

/** Why the column can never be held so, whatever its values; null where it can. */
export function impossible(kind: ColumnKind, { column, indexed, rowid, strict }: ColumnCase): string | null {
  if (rowid) {
    const numbered = kind === 'bigint' || kind === 'integer';
    return numbered ? null : 'it is the row number, which the target numbers as bigint or integer';
  }
  if ((kind === 'json' || kind === 'jsonb') && indexed) {
    return `it is part of a key, an index or a foreign key, and ${kind} has no order that SQLite has`;
  }
  if (strict && STRICT_KINDS[column.affinity]?.includes(kind) === false) {
    return `its table is STRICT, and SQLite would refuse such a value in a ${column.declared} column`;
  }
  if (CONVERTING[kind]?.includes(column.affinity)) {
    return `SQLite would store such a value otherwise in a column of affinity ${column.affinity}`;
  }
  return null;
}

/** Without values, only a default such as CURRENT_TIMESTAMP tells which of the forms of a date the application uses. */
function isTold(kind: ColumnKind, { facts, default: value }: ColumnCase): boolean {
  if (valueCount(facts) > 0) return true;
  return kind === 'date' || isMomentKind(kind) ? changesAs(kind, value) : kind !== 'mixed';
}

function changesAs(kind: ColumnKind, value: SourceDefault): boolean {
  return value.type === 'changing' && value.sql[kind] !== undefined;
}

function holdsDefault(kind: ColumnKind, subject: ColumnCase): boolean {
  return defaultSql(subject.default, kind, subject.column.affinity) !== undefined;
}

function isNumeric(column: SourceColumn): boolean {
  return column.affinity === 'NUMERIC' || column.affinity === 'INTEGER';
}

/** In order of preference; one text that says each value's class comes last, because queries cannot compute with it. */
export function preferredKinds(subject: ColumnCase): ColumnKind[] {
  return [...plainKinds(subject), 'mixed'];
}

function plainKinds({ column }: ColumnCase): ColumnKind[] {
  const { declared, affinity } = column;
  switch (affinity) {
    case 'INTEGER':
      return ['bigint', 'numeric', 'double', 'text', 'bytea'];
    case 'REAL':
      return ['double', 'text', 'bytea'];
    case 'TEXT':
      return ['text', 'bytea'];
    case 'BLOB':
      return declared === '' ? ['text', 'bigint', 'double', 'bytea'] : ['bytea', 'text', 'bigint', 'double'];
    case 'NUMERIC':
      if (isBoolean(declared)) return ['boolean', 'numeric', 'double', 'text', 'bytea'];
      if (isDatetime(declared)) return [...MOMENT_KINDS, 'text', 'bigint', 'numeric', 'double', 'bytea'];
      if (isDate(declared)) return ['date', 'text', 'bigint', 'numeric', 'double', 'bytea'];
      if (isJson(declared)) return ['json', 'text', 'bigint', 'numeric', 'double', 'bytea'];
      // UUID, STRING, TIME: where no value tells yet, the name speaks of text, and a number's type would refuse the first one.
      if (!isDecimal(declared)) return ['text', 'numeric', 'double', 'bytea'];
      return ['numeric', 'double', 'text', 'bytea'];
  }
}

const FORMS: Record<Exclude<ColumnKind, MomentKind>, string> = {
  bigint: 'integers',
  integer: 'integers of 32 bits',
  double: 'numbers that a double holds exactly',
  numeric: 'integers and numbers of at most 15 digits',
  boolean: '0 and 1',
  text: 'text',
  bytea: 'blobs',
  json: 'valid JSON, kept as written',
  jsonb: 'JSON, of which the value is kept and not the text',
  instant: 'milliseconds since 1970',
  uuid: 'uuids in lower case with hyphens',
  date: 'dates written YYYY-MM-DD',
  mixed: 'values of several storage classes, each kept as text that says which',
};

export function reason(kind: ColumnKind, { column, facts, default: value }: ColumnCase): string {
  const values = valueCount(facts);
  const declared = column.declared === '' ? 'no declared type' : `declared ${column.declared}`;
  if (kind === 'mixed') return `${whyMixed(facts, column)}; ${declared}`;
  if (values > 0)
    return `holds only ${isMomentKind(kind) ? `dates written ${momentForm(kind)}` : FORMS[kind]} (${values} ${values === 1 ? 'value' : 'values'}); ${declared}`;
  return `no values yet; ${declared}${changesAs(kind, value) ? `, default ${column.defaultText}` : ''}`;
}

/** One class of values makes a mixture only together with a default of another class. */
function otherDefault(facts: ColumnFacts, column: SourceColumn): string {
  return classesOf(facts).length > 1 ? '' : ` and the default ${column.defaultText ?? 'NULL'}`;
}

function obstacleOf(facts: ColumnFacts): Obstacle {
  const numbersOnly = facts.texts === 0 && facts.blobs === 0;
  if (numbersOnly && facts.beyondDouble > 0) {
    return {
      code: 'inexact-number',
      count: facts.reals - facts.decimals,
      what:
        `${facts.beyondDouble} integers are beyond 2^53 and ${facts.reals - facts.decimals} reals need more than ` +
        `15 digits: neither numeric nor double precision holds both exactly`,
      remedy: 'round the reals, or move the large integers to a column of their own',
    };
  }
  return {
    code: 'mixed-classes',
    count: Math.min(...classesOf(facts).map(([, count]) => count)),
    what: mixture(facts),
    remedy:
      'rows are found by this column, so convert the values of one class to the other, e.g. UPDATE … SET … = CAST(… AS …) WHERE typeof(…) = …',
  };
}

/** The storage classes that occur, with the number of their values. */
function classesOf(facts: ColumnFacts): [string, number][] {
  const classes: [string, number][] = [
    ['integer', facts.integers],
    ['real', facts.reals],
    ['text', facts.texts],
    ['blob', facts.blobs],
  ];
  return classes.filter(([, count]) => count > 0);
}

/** What keeps a column from every plain kind, of those that are held as text which says the class of each value. */
export function mixedCode(
  facts: ColumnFacts,
): 'mixed-classes' | 'nul-in-text' | 'invalid-utf8' | 'inexact-number' {
  if (facts.texts === valueCount(facts) && facts.nulTexts > 0) return 'nul-in-text';
  if (facts.texts === valueCount(facts) && facts.invalidTexts > 0) return 'invalid-utf8';
  return facts.texts + facts.blobs === 0 && classesOf(facts).length > 1 ? 'inexact-number' : 'mixed-classes';
}

function whyMixed(facts: ColumnFacts, column: SourceColumn): string {
  switch (mixedCode(facts)) {
    case 'nul-in-text':
      return `${facts.nulTexts} of its texts contain a NUL character, which PostgreSQL's text cannot hold`;
    case 'invalid-utf8':
      return `${facts.invalidTexts} of its texts are not valid UTF-8`;
    case 'inexact-number':
    case 'mixed-classes':
      return `${mixture(facts)}${otherDefault(facts, column)}`;
  }
}

function mixture(facts: ColumnFacts): string {
  const found = classesOf(facts).map(([name, count]) => `${count} ${name}`);
  return `it mixes storage classes: ${found.join(', ')}`;
}
