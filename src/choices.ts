/**
 * What the operator may choose where the plan's own choice does not suit: policies for what has no exact form on the
 * target, and overrides for single tables and columns. Plain JSON; no imports, so that workflows may use it.
 */

/** Every policy with its choices. The first is the default: nothing is left out or weakened unless it is asked for. */
export const POLICY_CHOICES = {
  /** The application's SQLite triggers: `drop` leaves them out of the target. */
  triggers: ['refuse', 'drop'],
  /** Virtual tables (FTS, R-tree): `skip` leaves them out of the target. */
  virtualTables: ['refuse', 'skip'],
  /** Generated columns whose expression has no certain meaning on the target: `leave-out` leaves them out of it. */
  generatedColumns: ['refuse', 'leave-out'],
  /**
   * Primary keys that PostgreSQL cannot have, because they are NULL in some rows, mix reals with other classes or are too
   * long: `row-numbers` tells the rows apart by SQLite's row numbers, as those of a table without a key.
   */
  keys: ['refuse', 'row-numbers'],
  /**
   * Foreign keys that rows break: `not-valid` has PostgreSQL check new and changed references only, `leave-out` leaves the
   * foreign key out of the target.
   */
  orphans: ['refuse', 'not-valid', 'leave-out'],
  /** Foreign keys that PostgreSQL cannot have, because its sides differ in type or letter case: `leave-out` leaves them out. */
  foreignKeys: ['refuse', 'leave-out'],
  /** Unique indexes that PostgreSQL cannot have: `leave-out` allows there what they forbid. */
  uniqueIndexes: ['refuse', 'leave-out'],
  /** Defaults without a certain form on NOT NULL columns: `leave-out`, so that an insert there has to give the value. */
  defaults: ['refuse', 'leave-out'],
  /** Names on the target: `exact` as the source spells them, or `lower` so that unquoted names find them. */
  identifiers: ['exact', 'lower'],
} as const;

export type PolicyName = keyof typeof POLICY_CHOICES;
export type Policies = { [Name in PolicyName]: (typeof POLICY_CHOICES)[Name][number] };

export const DEFAULT_POLICIES: Policies = {
  triggers: 'refuse',
  virtualTables: 'refuse',
  generatedColumns: 'refuse',
  keys: 'refuse',
  orphans: 'refuse',
  foreignKeys: 'refuse',
  uniqueIndexes: 'refuse',
  defaults: 'refuse',
  identifiers: 'exact',
};

/** Types of the target that an override may ask for, as SQL. `varchar` holds any mixture of values, each as text that says its class. */
export const OVERRIDE_TYPES = [
  'bigint',
  'boolean',
  'bytea',
  'date',
  'double precision',
  'integer',
  'json',
  'jsonb',
  'numeric',
  'text',
  'timestamp',
  'timestamptz',
  'timestamptz(3)',
  'uuid',
  'varchar',
] as const;
export type OverrideType = (typeof OVERRIDE_TYPES)[number];

export interface ColumnOverride {
  /** The type on the target; a value that does not fit it is a blocker. */
  type: OverrideType;
}

export interface TableOverride {
  /** Leaves the whole table where it is: not created on the target, not copied, not fenced. */
  skip: boolean;
  /** By the column's name. */
  columns: Record<string, ColumnOverride>;
}

/** By the table's name. Names are those of the source, and match without regard to case, as in SQLite. */
export type Overrides = Record<string, TableOverride>;
