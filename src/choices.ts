/**
 * What the operator may choose where the plan's own choice does not suit: policies for what has no exact form on the
 * target, and overrides for single tables and columns. Plain JSON; no imports, so that workflows may use it.
 */

/** One policy per kind of blocker. The first value of each is the default: nothing is left out unless it is asked for. */
export interface Policies {
  /** The application's SQLite triggers: `drop` leaves them out of the target. */
  triggers: 'refuse' | 'drop';
  /** Virtual tables (FTS, R-tree): `skip` leaves them out of the target. */
  virtualTables: 'refuse' | 'skip';
  /** Names on the target: `exact` as the source spells them, or `lower` so that unquoted names find them. */
  identifiers: 'exact' | 'lower';
  /** Generated columns whose expression has no certain meaning on the target: `leave-out` leaves them out of it. */
  generatedColumns: 'refuse' | 'leave-out';
}

export const DEFAULT_POLICIES: Policies = {
  triggers: 'refuse',
  virtualTables: 'refuse',
  generatedColumns: 'refuse',
  identifiers: 'exact',
};

/** Types of the target that an override may ask for, as SQL. `varchar` holds any mixture of values, each as text that says its class. */
export const OVERRIDE_TYPES = [
  'bigint',
  'boolean',
  'bytea',
  'date',
  'double precision',
  'json',
  'jsonb',
  'numeric',
  'text',
  'timestamp',
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
