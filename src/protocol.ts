/**
 * The protocol between engine, router and databases: names of the control objects, the states of a control row, and
 * how a refusal is recognised. `docs/protocol.md` tells the whole story; this file has what must be spelled the same
 * on every side.
 *
 * Exactly one database is primary. The row of the database that *was* primary decides a switch: it goes
 * open → fencing(deadline) → moved, and only `moved` with epoch n allows the other database to open with epoch n.
 */

/** `standby`: never opened yet. `open`: primary. `fencing`: primary, but refusing until the deadline. `moved`: not primary any more. */
export type ControlState = 'standby' | 'open' | 'fencing' | 'moved';

export interface ControlRow {
  migration: string;
  epoch: number;
  state: ControlState;
  fenceToken: string | null;
  /** Milliseconds until a fence lifts itself, by the clock of the database that answered; negative once lifted, null where there is none. */
  fenceLeftMs: number | null;
}

/** The source's control row carries the routing too, because routers poll the primary. */
export interface SourceControlRow extends ControlRow {
  readPercent: number;
  dualWrites: boolean;
  dualWriteTimeoutMs: number;
}

/** Does the database of this row accept application writes at this moment? A missing row means fenced. */
export function acceptsWrites(row: ControlRow): boolean {
  return row.state === 'open' || (row.state === 'fencing' && (row.fenceLeftMs ?? 1) <= 0);
}

/** Prefix of every object of ours in SQLite; PostgreSQL has the schema `crossfade`. */
export const SQLITE_PREFIX = '_crossfade_';
export const POSTGRES_SCHEMA = 'crossfade';

/** Column of the target that holds SQLite's row number, of tables that have no key; routers leave it out of results. */
export const ROW_NUMBER_COLUMN = '_crossfade_rowid';

/** Text of the refusal that the fence triggers raise, in both databases. */
export const FENCED = 'crossfade: fenced';
/** SQLSTATE of the refusal; class CF is not used by PostgreSQL. */
export const SQLSTATE_FENCED = 'CF001';
/** SQLSTATE raised where a writer's lease was taken over. */
export const SQLSTATE_LEASE_LOST = 'CF002';
/** SQLSTATE raised where a batch of replay may not end in the middle of the log any more. */
export const SQLSTATE_WHOLE_BATCHES = 'CF003';

/**
 * Advisory lock that writers on PostgreSQL share and the fence takes exclusively; the bytes of "crossfad".
 * A transaction-level lock, so that it survives transaction-mode poolers.
 */
export const FENCE_LOCK_KEY = '7165912498747892068';

/** Setting that the applier sets with SET LOCAL to the holder of its lease; session-level SET would leak through poolers. */
export const LEASE_SETTING = 'crossfade.lease';

/**
 * A refusal by a fence: the write was certainly not applied and may be sent again. 40001 counts where a writer above
 * READ COMMITTED met the fence's update of the control row; the router retries both on whichever database is primary.
 */
export function isFenceRefusal(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  return code === SQLSTATE_FENCED || (typeof message === 'string' && message.includes(FENCED));
}
