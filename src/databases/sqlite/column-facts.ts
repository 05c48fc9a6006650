/** What the census knows of a column, and how the facts of two ranges of rows become one. */
import type { MomentKind } from '../../contract.ts';
import { MOMENT_KINDS } from '../moment.ts';

/** Texts by the form of a moment that they have, each a date in the years 0001 to 9999. */
type Moments = Record<MomentKind, number>;

/** Counts of a column's values; a fact that its declared type cannot need stays 0. */
interface Counts extends Moments {
  integers: number;
  reals: number;
  texts: number;
  blobs: number;
  nulls: number;
  /** Integers 0 and 1. */
  bits: number;
  /** Texts YYYY-MM-DD that are a date, in the years 0001 to 9999. */
  dates: number;
  /** Texts that are JSON (RFC 8259). */
  jsons: number;
  /** Texts that are JSON which PostgreSQL's jsonb can hold; counted only where it is asked for. */
  jsonValues: number;
  /** Values that fit an `integer`, `timestamptz(3)` or `uuid`; counted only where one of these is asked for. */
  asked: number;
  /** Reals that 15 digits hold exactly and that PostgreSQL's numeric gives back. */
  decimals: number;
  /** Reals within the declared precision and scale. */
  inScale: number;
  /** Integers that no double holds exactly. */
  beyondDouble: number;
  /** Texts with a NUL character. */
  nulTexts: number;
  /** Texts that are not valid UTF-8. */
  invalidTexts: number;
  /** Texts of more characters than the declared type allows, as VARCHAR(20) does. */
  tooLong: number;
}

interface Lengths {
  /** Bytes of the longest value; 0 for a column of numbers that is in no index. */
  longest: number;
  /** Characters of the longest text, where the declared type limits them. */
  longestText: number;
}

interface Bounds {
  /** The least number. */
  least: number | bigint | null;
  greatest: number | bigint | null;
}

export interface ColumnFacts extends Counts, Lengths, Bounds {
  /** Of a column of dates: how many of its texts have which form. */
  forms: Map<string, number>;
}

/** What one aggregate over a column can tell. */
export type Fact = keyof Counts | keyof Lengths | keyof Bounds;

/** A column that holds nothing. */
export function noFacts(): ColumnFacts {
  return {
    integers: 0,
    reals: 0,
    texts: 0,
    blobs: 0,
    nulls: 0,
    bits: 0,
    ...(Object.fromEntries(MOMENT_KINDS.map((kind) => [kind, 0])) as Moments),
    dates: 0,
    jsons: 0,
    jsonValues: 0,
    asked: 0,
    decimals: 0,
    inScale: 0,
    beyondDouble: 0,
    nulTexts: 0,
    invalidTexts: 0,
    tooLong: 0,
    longest: 0,
    longestText: 0,
    least: null,
    greatest: null,
    forms: new Map(),
  };
}

/** Adds what an aggregate over some rows found. @param value as the driver gives it, integers as bigint */
export function addFact(facts: ColumnFacts, fact: Fact, value: unknown): void {
  switch (fact) {
    case 'least':
    case 'greatest': {
      // min() and max() of a column that also holds texts may be a text: then further questions follow.
      if (typeof value !== 'bigint' && typeof value !== 'number') return;
      const known = facts[fact];
      if (known === null || (fact === 'least' ? value < known : value > known)) facts[fact] = value;
      return;
    }
    case 'longest':
    case 'longestText':
      facts[fact] = Math.max(facts[fact], Number(value ?? 0));
      return;
    default:
      facts[fact] += Number(value ?? 0);
  }
}

/** Forms that are told apart; a column of free text has as many as it likes. */
const FORMS = 10;

export function addForm(facts: ColumnFacts, form: string, count = 1): void {
  const key = facts.forms.has(form) || facts.forms.size < FORMS ? form : 'other';
  facts.forms.set(key, (facts.forms.get(key) ?? 0) + count);
}
