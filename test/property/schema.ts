/** Random choices of which traps a schema has; every number is taken modulo what there is, so that each can be made smaller. */
import fc from 'fast-check';
import { ANYTHING, FLAVOURS, NAMES, type Flavour } from './values.ts';

interface RawColumn {
  name: string;
  flavour: Flavour;
  /** Its values may be of any class. */
  wild: boolean;
  pool: string[];
  notNull: boolean;
  collation: '' | 'NOCASE' | 'RTRIM';
  default: string | null;
}

type KeyStyle = 'rowid' | 'autoincrement' | 'int' | 'descending' | 'columns' | 'unique' | 'none';

interface RawIndex {
  name: string;
  columns: number[];
  unique: boolean;
  constraint: boolean;
  descending: boolean;
  conflict: '' | 'REPLACE' | 'IGNORE' | 'FAIL';
  /** Which expression or condition, -1 for none. */
  expression: number;
  condition: number;
}

interface RawForeignKey {
  parent: number;
  reference: number;
  action: string;
  deferred: boolean;
  /** Declared type of the referring column, null for the parent's. */
  declared: string | null;
  implicit: boolean;
}

export interface RawTable {
  name: string;
  columns: RawColumn[];
  key: KeyStyle;
  keyColumns: number[];
  /** The key may have what the plan refuses: NULL, and reals among other classes. */
  keyFaulty: boolean;
  withoutRowid: boolean;
  strict: boolean;
  conflict: '' | 'REPLACE' | 'IGNORE';
  indexes: RawIndex[];
  foreignKeys: RawForeignKey[];
  checks: { column: number; template: number }[];
  generated: { column: number; template: number; stored: boolean }[];
  /** Per row, which value of its pool each column takes. */
  rows: number[][];
}

const rarely = (percent: number): fc.Arbitrary<boolean> =>
  fc.oneof(
    { weight: 100 - percent, arbitrary: fc.constant(false) },
    { weight: percent, arbitrary: fc.constant(true) },
  );

export const DEFAULTS = [
  'CURRENT_TIMESTAMP',
  `(datetime('now'))`,
  'CURRENT_DATE',
  'NULL',
  'true',
  '-1',
  '+7',
  '0x10',
  `'it''s'`,
  `'now()'`,
  `x'00ff'`,
  '"double quoted"',
  '1.5',
  `''`,
  `(1 + 1)`,
  `(lower(hex(randomblob(4))))`,
];

function column(flavour: Flavour, wild: boolean): fc.Arbitrary<RawColumn> {
  const value = wild ? fc.oneof(ANYTHING, flavour.value) : flavour.value;
  return fc.record({
    name: fc.constantFrom(...NAMES),
    flavour: fc.constant(wild ? { ...flavour, nature: 'other' as const } : flavour),
    wild: fc.constant(wild),
    pool: fc.uniqueArray(value, { minLength: 1, maxLength: 5 }),
    notNull: rarely(30),
    collation: fc.oneof(
      { weight: 12, arbitrary: fc.constant('' as const) },
      { weight: 2, arbitrary: fc.constant('NOCASE' as const) },
      { weight: 1, arbitrary: fc.constant('RTRIM' as const) },
    ),
    default: fc.oneof(
      { weight: 6, arbitrary: fc.constant(null) },
      { weight: 1, arbitrary: flavour.value.map((literal) => `(${literal})`) },
      { weight: 1, arbitrary: fc.constantFrom(...DEFAULTS) },
    ),
  });
}

const anyColumn = fc.oneof(
  ...FLAVOURS.flatMap((flavour) => [
    { weight: 5, arbitrary: column(flavour, false) },
    { weight: 1, arbitrary: column(flavour, true) },
  ]),
);

const anyIndex: fc.Arbitrary<RawIndex> = fc.record({
  name: fc.constantFrom(...NAMES),
  columns: fc.uniqueArray(fc.nat(7), { minLength: 1, maxLength: 3 }),
  unique: rarely(50),
  constraint: rarely(40),
  descending: rarely(30),
  conflict: fc.constantFrom('', '', 'REPLACE', 'IGNORE', 'FAIL'),
  expression: fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.nat(3) }),
  condition: fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.nat(3) }),
});

const ACTIONS = [
  '',
  'ON DELETE CASCADE',
  'ON DELETE SET NULL',
  'ON UPDATE CASCADE',
  'ON DELETE CASCADE ON UPDATE CASCADE',
  'ON DELETE RESTRICT ON UPDATE SET NULL',
  'ON DELETE SET DEFAULT',
];

const anyForeignKey: fc.Arbitrary<RawForeignKey> = fc.record({
  parent: fc.nat(3),
  reference: fc.nat(2),
  action: fc.constantFrom(...ACTIONS),
  deferred: rarely(30),
  declared: fc.oneof(
    { weight: 12, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.constantFrom('TEXT', '', 'INTEGER') },
  ),
  implicit: rarely(30),
});

export const anyTable: fc.Arbitrary<RawTable> = fc.record({
  name: fc.constantFrom(...NAMES),
  columns: fc.array(anyColumn, { minLength: 1, maxLength: 5 }),
  key: fc.oneof(
    { weight: 3, arbitrary: fc.constant('rowid' as const) },
    { weight: 3, arbitrary: fc.constant('autoincrement' as const) },
    { weight: 1, arbitrary: fc.constantFrom('int' as const, 'descending' as const) },
    { weight: 6, arbitrary: fc.constant('columns' as const) },
    { weight: 1, arbitrary: fc.constant('unique' as const) },
    { weight: 2, arbitrary: fc.constant('none' as const) },
  ),
  keyColumns: fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 3 }),
  keyFaulty: rarely(3),
  withoutRowid: rarely(30),
  strict: rarely(15),
  conflict: fc.constantFrom('', '', '', 'REPLACE', 'IGNORE'),
  indexes: fc.array(anyIndex, { maxLength: 3 }),
  foreignKeys: fc.array(anyForeignKey, { maxLength: 2 }),
  checks: fc.array(fc.record({ column: fc.nat(7), template: fc.nat(5) }), { maxLength: 1 }),
  generated: fc.array(fc.record({ column: fc.nat(7), template: fc.nat(3), stored: fc.boolean() }), {
    maxLength: 1,
  }),
  rows: fc.array(fc.array(fc.nat(6), { minLength: 8, maxLength: 8 }), { minLength: 4, maxLength: 12 }),
});
