/** The plan as data: what every table, column, index, constraint and view of the source becomes. Plain JSON, no imports. */

/**
 * Texts of one form that are `timestamp` or `timestamptz` on the target, see databases/moment.ts: `timestamp` is
 * YYYY-MM-DD HH:MM:SS and `timestamptz` is YYYY-MM-DDTHH:MM:SS.SSSZ, what follows says in which the form differs.
 */
export type MomentKind =
  | 'timestamp'
  | 'timestamp3'
  | 'timestamp6'
  | 'timestampT'
  | 'timestampT3'
  | 'timestampT6'
  | 'timestamptz'
  | 'timestamptzT'
  | 'timestamptzT6'
  | 'timestamptzOffset'
  | 'timestamptzOffset3'
  | 'timestamptzOffset6'
  | 'timestamptzOffsetT'
  | 'timestamptzOffsetT3'
  | 'timestamptzOffsetT6'
  | 'timestamptzSpaced3';

/** How a source value is held on the target; each is reversible for the values that its check admits. */
export type ColumnKind =
  | 'bigint'
  /** Integers of 32 bits. */
  | 'integer'
  | 'double'
  | 'numeric'
  | 'boolean'
  | 'text'
  | 'bytea'
  | 'json'
  | 'jsonb'
  | MomentKind
  /** Whole milliseconds since 1970. */
  | 'instant'
  | 'uuid'
  | 'date'
  | 'mixed';

/** What the census found in a column; what it did not find, or had no reason to look for, is absent. */
export interface ColumnCensus {
  /** Values by storage class, and NULLs. */
  integers?: number;
  reals?: number;
  texts?: number;
  blobs?: number;
  nulls?: number;
  /** The least and the greatest number, as SQL literals. */
  least?: string;
  greatest?: string;
  /** Bytes of the longest value; absent for columns of numbers or dates that are in no index. */
  longestBytes?: number;
  /** Characters of the longest text, where the declared type limits them. */
  longestCharacters?: number;
  /** Texts with a NUL character. */
  nulTexts?: number;
  /** Texts that are not valid UTF-8. */
  invalidTexts?: number;
  /** Of a column declared as a date: its texts by form, such as YYYY-MM-DDTHH:MM:SSZ, the most frequent first. */
  dateForms?: Record<string, number>;
}

export interface ColumnPlan {
  name: string;
  /** Name on the target; the same where absent. */
  targetName?: string;
  /** The declared type in the source, as written. */
  declared: string;
  kind: ColumnKind;
  /** The type on the target, as SQL. */
  targetType: string;
  /** One sentence: why this type. */
  why: string;
  /** Absent for a column that only the target has. */
  census?: ColumnCensus;
  notNull: boolean;
  /** Default on the target, as SQL; absent where there is none. */
  defaultSql?: string;
  /** Numbered by the target (INTEGER PRIMARY KEY). */
  identity: boolean;
  /** Name of the sequence of an identity column; PostgreSQL's choice where absent. */
  sequenceName?: string;
}

/** A column that both databases compute: it is compared, and never written. */
export interface GeneratedColumnPlan extends ColumnPlan {
  /** On the target, over columns that are not generated. */
  expressionSql: string;
}

export interface IndexPlan {
  name: string;
  unique: boolean;
  /** The columns or expressions as SQL for the target, with direction and collation. */
  targetSql: string;
  /** Condition of a partial index, as SQL for the target. */
  predicateSql?: string;
  /** Names of the columns on the source, where the index is over plain columns of every row. */
  columns?: string[];
}

/** A foreign key by the names of the target. */
export interface ForeignKeyPlan {
  name: string;
  columns: string[];
  parent: string;
  parentColumns: string[];
  onDelete: string;
  onUpdate: string;
  deferrable: boolean;
  /** Rows break it, so that the target checks only new and changed ones. */
  notValid?: true;
}

export interface TablePlan {
  /** Number of the table in the change log; stable during one migration, never 0. */
  id: number;
  name: string;
  /** Name on the target; the same where absent. */
  targetName?: string;
  /** Those that hold values of their own. */
  columns: ColumnPlan[];
  /** The generated ones, which come last on the target; absent where there are none. */
  generated?: GeneratedColumnPlan[];
  /** Names of the key columns, in key order. */
  key: string[];
  /** Name of the primary key's constraint on the target; PostgreSQL's choice where absent. */
  keyName?: string;
  /** False where the target sorts by the key in another order than the source; the same order where absent. */
  ordered?: false;
  /** Present where no column is a key: the rowid serves, in a column of its own on the target. */
  rowNumbered?: true;
  /** True where the key is the rowid, under another name (INTEGER PRIMARY KEY) or its own. */
  rowidAlias: boolean;
  withoutRowid: boolean;
  autoincrement: boolean;
  rows: number;
  /** Bytes of the largest row seen by the census, all its values together. */
  largestRow: number;
  indexes: IndexPlan[];
  foreignKeys: ForeignKeyPlan[];
  /** The application's own CHECK constraints, as SQL expressions for the target. */
  checks: string[];
  /** CHECK constraints that keep out what could not go back to the source; they end with the way back. */
  guards: { name: string; sql: string }[];
  /** Names and SQL of the application's triggers on this table. */
  triggers: { name: string; sql: string }[];
}

/** A view that is tried on the target once the rows are there, and kept if it returns the same ones. */
export interface ViewPlan {
  name: string;
  /** Name on the target; the same where absent. */
  targetName?: string;
  /** In order. `approximate`: adds reals up, whose last digits depend on the order of the rows on either database. */
  columns: { name: string; targetName?: string; approximate?: true }[];
  /** The SELECT, as SQL for the target. */
  selectSql: string;
  /** Ids of the tables that it reads, through other views as well. */
  tables: number[];
}

export interface Finding {
  /** Stable word for the kind of finding, e.g. `no-key`, `mixed-classes`, `application-trigger`. */
  code: string;
  table?: string;
  column?: string;
  count?: number;
  /** Of the first five rows that are counted, as SQL literals; `rowid N` where no primary key tells the row. */
  keys?: string[];
  /** What is wrong and what the operator can do, in one line. */
  message: string;
}

export interface Plan {
  /** Fingerprint of the source's schema at planning time, our own objects left out. */
  fingerprint: string;
  sourceBytes: number;
  /** Time that reading every row took, ms. */
  censusMs: number;
  tables: TablePlan[];
  /** Each after those that it reads; absent where there are none. */
  views?: ViewPlan[];
  blockers: Finding[];
  notices: Finding[];
}
