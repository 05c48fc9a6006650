/**
 * Checks what an operator typed into a start form or an input file, and fills in the defaults. It depends on nothing,
 * so that a workflow may use it before anything else happens.
 */
import {
  OVERRIDE_TYPES,
  POLICY_CHOICES,
  type ColumnOverride,
  type Overrides,
  type Policies,
  type TableOverride,
} from './choices.ts';
import { closestName } from './closest-name.ts';
import { DEFAULT_INPUT, type MigrationInput, type RollbackInput, type VerifyInput } from './contract.ts';
import { parseDuration } from './duration.ts';
import { CrossfadeError } from './errors.ts';

/** Checks one value; `path` is its name in the input, '' for the input itself. @throws CrossfadeError InvalidInput */
type Check<T> = (value: unknown, path: string) => T;

const YEAR_MS = 366 * 86_400_000;

/**
 * The whole input of `migrateDatabase`; what is left out is the strategy's default, and so is everything where there
 * is no input at all. Durations (`…Ms`) may be milliseconds or text with a unit: "5m", "10s".
 * @throws CrossfadeError InvalidInput with one line that names the field, what was found, and what is allowed
 */
export function parseMigrationInput(raw: unknown): MigrationInput {
  return whole(migration, raw);
}

/** @throws CrossfadeError InvalidInput */
export function parseVerifyInput(raw: unknown): VerifyInput {
  return whole(verification, raw);
}

/** @throws CrossfadeError InvalidInput */
export function parseRollbackInput(raw: unknown): RollbackInput {
  return whole(rollback, raw);
}

function whole<T>(check: Check<T>, raw: unknown): T {
  // A blank input form sends no argument; `null` is what some clients make of that.
  return check(raw ?? {}, '');
}

const D = DEFAULT_INPUT;
const sides = { source: connectionName, target: connectionName };
const verify = { mode: oneOf<'full' | 'sample'>('full', 'sample'), sampleRows: integer(1, 1_000_000) };

const migration = fields<MigrationInput>(
  {
    ...sides,
    policies: fields<Policies>(
      // Each allows its own words, which the types of the entries do not tell.
      Object.fromEntries(
        Object.entries(POLICY_CHOICES).map(([name, choices]) => [name, oneOf<string>(...choices)]),
      ) as unknown as { [Name in keyof Policies]: Check<Policies[Name]> },
      D.policies,
    ),
    overrides: byName<Overrides>(
      'table',
      fields<TableOverride>(
        {
          skip: flag,
          columns: byName<TableOverride['columns']>(
            'column',
            fields<ColumnOverride>({ type: oneOf(...OVERRIDE_TYPES) }, {} as ColumnOverride),
          ),
        },
        { skip: false, columns: {} },
      ),
    ),
    copy: fields<MigrationInput['copy']>(
      {
        batchRows: integer(1, 1_000_000),
        batchBytes: integer(1_024, 256 * 1024 * 1024),
        maxRowsPerSecond: integer(0, 1_000_000_000),
        parallel: integer(1, 32),
      },
      D.copy,
    ),
    capture: fields<MigrationInput['capture']>({ maxLogRows: integer(10_000, 1_000_000_000) }, D.capture),
    verify: fields<MigrationInput['verify']>(verify, D.verify),
    shift: fields<MigrationInput['shift']>(
      {
        stages: percentages,
        stageWaitMs: duration(1),
        approval: flag,
        onBreach: oneOf('hold', 'rollback'),
      },
      D.shift,
    ),
    gates: fields<MigrationInput['gates']>(
      {
        maxErrorRate: number(0, 1),
        maxLatencyIncrease: number(0, 1_000),
        latencyFloorMs: duration(0),
        maxLagMs: duration(1),
        minSamples: integer(0, 1_000_000_000),
      },
      D.gates,
    ),
    dualWrites: fields<MigrationInput['dualWrites']>({ enabled: flag, timeoutMs: duration(1) }, D.dualWrites),
    cutover: fields<MigrationInput['cutover']>({ maxPauseMs: duration(1) }, D.cutover),
    soakMs: duration(0),
    sourceAfterFinish: oneOf('fenced', 'free'),
    targetAfterRollback: oneOf('drop', 'keep'),
  },
  D,
);

const verification = fields<VerifyInput>(
  { ...sides, ...verify, repair: flag },
  { source: D.source, target: D.target, ...D.verify, repair: false },
);

const rollback = fields<RollbackInput>(
  { ...sides, targetAfterRollback: oneOf('drop', 'keep') },
  { source: D.source, target: D.target, targetAfterRollback: D.targetAfterRollback },
);

/** An object with these fields and no others; those left out come from `defaults`. */
function fields<T extends object>(checks: { [K in keyof T]-?: Check<T[K]> }, defaults: T): Check<T> {
  const names = Object.keys(checks) as (keyof T & string)[];
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      const example = path === '' ? '{"source":"source","target":"target"}' : `{"${names[0]!}":…}`;
      throw invalid(path, value, `one JSON object, for example ${example}`);
    }
    for (const name of Object.keys(value)) {
      if (names.includes(name as keyof T & string)) continue;
      const meant =
        names.find((known) => known.toLowerCase().startsWith(name.toLowerCase().slice(0, 5))) ??
        closestName(name, names);
      throw new CrossfadeError(
        'InvalidInput',
        `the input has an unknown field "${shortened(below(path, name))}"` +
          (meant === undefined
            ? `: known ${path === '' ? 'are' : `in "${path}" are`} ${names.join(', ')}`
            : `: is "${meant}" meant?`),
      );
    }
    const given = value as Partial<Record<keyof T, unknown>>;
    const result = { ...defaults };
    for (const name of names) {
      const item = given[name];
      // Always through the check, so that no two results share a nested object of the defaults.
      result[name] = checks[name](item === undefined ? defaults[name] : item, below(path, name));
    }
    return result;
  };
}

/** An object whose names are the operator's own, each with a value of one kind. */
function byName<T extends Record<string, unknown>>(what: string, check: Check<T[string]>): Check<T> {
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalid(path, value, `one JSON object with a field per ${what}, called as the ${what} is`);
    }
    // Not assigned one by one: a table may be called __proto__.
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, check(item, below(path, name))]),
    ) as T;
  };
}

function below(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function connectionName(value: unknown, path: string): string {
  const allowed = 'the name of a connection: letters, digits, ".", "_" or "-"';
  // Not shown: it may hold a password, and it has no place in a workflow's history.
  if (typeof value === 'string' && value.includes(':')) {
    throw new CrossfadeError(
      'InvalidInput',
      `input field "${path}" looks like a URL: it must be ${allowed}; the worker finds the URL in its own environment`,
    );
  }
  if (typeof value !== 'string' || !/^[A-Za-z0-9._-]{1,64}$/.test(value)) throw invalid(path, value, allowed);
  return value;
}

function percentages(value: unknown, path: string): number[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw invalid(path, value, 'a list of percentages, for example [10, 25, 50, 75, 100]');
  }
  let least = 1;
  return value.map((item: unknown, index) => {
    const good = typeof item === 'number' && Number.isInteger(item) && item >= least && item <= 100;
    if (!good) {
      throw invalid(
        `${path}[${index}]`,
        item,
        `a whole percentage from ${least} to 100 (percentages ascend)`,
      );
    }
    least = item + 1;
    return item;
  });
}

function flag(value: unknown, path: string): boolean {
  if (typeof value !== 'boolean') throw invalid(path, value, 'true or false');
  return value;
}

function oneOf<T extends string>(...words: T[]): Check<T> {
  return (value, path) => {
    const found = words.find((word) => word === value);
    if (found === undefined) throw invalid(path, value, words.map((word) => `"${word}"`).join(' or '));
    return found;
  };
}

function number(min: number, max: number): Check<number> {
  return (value, path) => {
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      throw invalid(path, value, `a number from ${min} to ${max}`);
    }
    return value;
  };
}

function integer(min: number, max: number): Check<number> {
  return (value, path) => {
    if (!Number.isInteger(value)) throw invalid(path, value, `a whole number from ${min} to ${max}`);
    return number(min, max)(value, path);
  };
}

/** Milliseconds, as a number or as text with a unit. */
function duration(min: number): Check<number> {
  return (value, path) => {
    const ms = typeof value === 'string' ? parseDuration(value) : value;
    if (typeof ms !== 'number' || !Number.isInteger(ms) || ms < min || ms > YEAR_MS) {
      throw invalid(
        path,
        value,
        `a ${min > 0 ? 'positive ' : ''}duration, in milliseconds or as text like "10s", "5m", "1h"`,
      );
    }
    return ms;
  };
}

function invalid(path: string, value: unknown, allowed: string): CrossfadeError {
  const what = path === '' ? 'the input' : `input field "${path}"`;
  return new CrossfadeError('InvalidInput', `${what} is ${described(value)}: it must be ${allowed}`);
}

function described(value: unknown): string {
  if (Array.isArray(value))
    return value.length === 0 ? 'an empty list' : `a list (${shortened(JSON.stringify(value))})`;
  if (typeof value === 'string') return `the text ${shortened(JSON.stringify(value))}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}

function shortened(text: string): string {
  return text.length <= 40 ? text : `${text.slice(0, 39)}…`;
}
