/**
 * Control objects in SQLite: the control row, the leases, the change log and the application's suspended triggers.
 * Every statement here also runs on SQLite 3.40, because other writers' libraries execute the triggers.
 */
import type Database from 'better-sqlite3';
import { CrossfadeError } from '../../errors.ts';
import type { ControlState, SourceControlRow } from '../../protocol.ts';
import { quoted } from '../identifiers.ts';

export const CONTROL_TABLE = '_crossfade_control';
export const LEASE_TABLE = '_crossfade_lease';
export const LOG_TABLE = '_crossfade_log';
export const SUSPENDED_TABLE = '_crossfade_suspended';
/** In a D1 database only, see `d1/chain.ts`: the last of our batches that changed it. */
export const BATCH_TABLE = '_crossfade_batch';

/** Unix milliseconds by SQLite's clock, in a form that every version since 3.8 knows. */
export const NOW_MS = `CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)`;

/** 1 where the row refuses application writes. Missing row: NULL, which the triggers treat as refused. */
export const REFUSES = `(SELECT CASE
  WHEN applying = 1 THEN 0
  WHEN state = 'open' THEN 0
  WHEN state = 'fencing' AND ${NOW_MS} >= deadline THEN 0
  ELSE 1 END FROM ${CONTROL_TABLE} WHERE id = 1)`;

/** The roles that hold leases in the source: `control` changes the control row and triggers, `reverse` applies changes from the target. */
export type SourceLeaseRole = 'control' | 'reverse';

export interface Lease<Role extends string> {
  role: Role;
  epoch: number;
  /** Greater for every later owner, so that a stale one can never take the lease back. */
  ordinal: number;
  /** Unique per owner. */
  holder: string;
  /** The migration that the owner works for; a worker that was given other databases under the same names is refused. */
  migration?: string;
}

/** Creates the control objects, source open with epoch 1. The caller has checked that none exist. */
export function createControl(db: Database.Database, migration: string, keyColumns: number): void {
  const keys = Array.from({ length: keyColumns }, (_, i) => `k${i}`).join(', ');
  db.exec(`
    CREATE TABLE ${CONTROL_TABLE} (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      migration TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      state TEXT NOT NULL CHECK (state IN ('open', 'fencing', 'moved')),
      fence_token TEXT,
      deadline INTEGER,
      applying INTEGER NOT NULL DEFAULT 0,
      read_percent INTEGER NOT NULL DEFAULT 0,
      dual_writes INTEGER NOT NULL DEFAULT 0,
      dual_write_timeout_ms INTEGER NOT NULL DEFAULT 2000,
      open_token TEXT,
      reverse_token TEXT,
      reverse_before TEXT
    );
    CREATE TABLE ${LEASE_TABLE} (
      role TEXT PRIMARY KEY, epoch INTEGER NOT NULL, ordinal INTEGER NOT NULL, holder TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE ${LOG_TABLE} (seq INTEGER PRIMARY KEY, t INTEGER, ${keys}, token INTEGER DEFAULT (random()));
    CREATE TABLE ${SUSPENDED_TABLE} (name TEXT PRIMARY KEY, sql TEXT);
  `);
  db.prepare(`INSERT INTO ${CONTROL_TABLE} (id, migration, epoch, state) VALUES (1, ?, 1, 'open')`).run(
    migration,
  );
  db.exec(`INSERT INTO ${LEASE_TABLE} VALUES ('control', 1, 0, ''), ('reverse', 1, 0, '')`);
  // The first row anchors the first checkpoint: replay proves at each batch that its (seq, token) still exists.
  db.exec(`INSERT INTO ${LOG_TABLE} (t) VALUES (0)`);
}

export function hasControl(db: Database.Database): boolean {
  return (
    db.prepare(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?`).get(CONTROL_TABLE) !==
    undefined
  );
}

/** The control row; null where the table or the row is missing. */
export function readControl(db: Database.Database): SourceControlRow | null {
  if (!hasControl(db)) return null;
  const row = db
    .prepare(
      `SELECT migration, epoch, state, fence_token, deadline - ${NOW_MS} AS left_ms, read_percent, dual_writes,
              dual_write_timeout_ms FROM ${CONTROL_TABLE} WHERE id = 1`,
    )
    .get() as
    | {
        migration: string;
        epoch: number;
        state: ControlState;
        fence_token: string | null;
        left_ms: number | null;
        read_percent: number;
        dual_writes: number;
        dual_write_timeout_ms: number;
      }
    | undefined;
  if (row === undefined) return null;
  return {
    migration: row.migration,
    epoch: row.epoch,
    state: row.state,
    fenceToken: row.fence_token,
    fenceLeftMs: row.left_ms,
    readPercent: row.read_percent,
    dualWrites: row.dual_writes === 1,
    dualWriteTimeoutMs: row.dual_write_timeout_ms,
  };
}

/**
 * Takes a lease over from any owner with a smaller ordinal.
 * @throws CrossfadeError LeaseLost where a later owner or another epoch holds it
 */
export function takeLease(db: Database.Database, lease: Lease<SourceLeaseRole>): void {
  proveMigration(lease, readControl(db)?.migration, `source ${db.name}`);
  const taken = db
    .prepare(`UPDATE ${LEASE_TABLE} SET ordinal = ?, holder = ? WHERE role = ? AND epoch = ? AND ordinal < ?`)
    .run(lease.ordinal, lease.holder, lease.role, lease.epoch, lease.ordinal);
  if (taken.changes !== 1) throw leaseLost(lease);
}

/** @throws CrossfadeError MigrationExists where the database belongs to another migration than the lease's owner */
export function proveMigration(lease: Lease<string>, found: string | undefined, database: string): void {
  if (lease.migration === undefined || found === undefined || lease.migration === found) return;
  throw new CrossfadeError(
    'MigrationExists',
    `${database} belongs to migration "${found}", not to "${lease.migration}": two workers with different ` +
      'connections share a task queue; give each pair of databases a queue of its own (--task-queue)',
  );
}

/** Proves the lease, or takes it where this owner has not taken it yet. @throws CrossfadeError LeaseLost, MigrationExists */
export function holdOrTakeLease(db: Database.Database, lease: Lease<SourceLeaseRole>): void {
  if (!isHeld(db, lease)) takeLease(db, lease);
}

/** Proves, inside the caller's write transaction, that the lease is still held. Must run before its COMMIT. */
export function holdLease(db: Database.Database, lease: Lease<SourceLeaseRole>): void {
  if (!isHeld(db, lease)) throw leaseLost(lease);
}

function isHeld(db: Database.Database, lease: Lease<SourceLeaseRole>): boolean {
  const held = db
    .prepare(`SELECT 1 FROM ${LEASE_TABLE} WHERE role = ? AND epoch = ? AND holder = ?`)
    .get(lease.role, lease.epoch, lease.holder);
  return held !== undefined;
}

/** Ordinal of the latest owner of any lease; 0 where no step has taken one since the control row was made. */
export function lastOrdinal(db: Database.Database): number {
  const present = db.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(LEASE_TABLE) !== undefined;
  return present ? (db.prepare(`SELECT max(ordinal) FROM ${LEASE_TABLE}`).pluck().get() as number) : 0;
}

function leaseLost(lease: Lease<string>): CrossfadeError {
  return new CrossfadeError(
    'LeaseLost',
    `source: the lease "${lease.role}" of epoch ${lease.epoch} belongs to another owner; this one stops without effect`,
  );
}

/** Creates the application's suspended triggers again; the table may be missing. Runs in the caller's transaction. */
export function resumeTriggers(db: Database.Database): void {
  const present = db.prepare(`SELECT 1 FROM sqlite_master WHERE name = ?`).get(SUSPENDED_TABLE) !== undefined;
  if (!present) return;
  const triggers = db.prepare(`SELECT name, sql FROM ${SUSPENDED_TABLE} ORDER BY rowid`).all() as {
    name: string;
    sql: string;
  }[];
  for (const { name, sql } of triggers) {
    db.exec(`DROP TRIGGER IF EXISTS ${quoted(name)}`);
    db.exec(sql);
  }
  db.exec(`DELETE FROM ${SUSPENDED_TABLE}`);
}

/**
 * Opens the source again after the target's row became moved(epoch), the end of a rollback. Idempotent; any worker or
 * router may call it. The application's suspended triggers come back, reads and writes involve the target no longer,
 * and every lease is revoked. Runs in the caller's write transaction, which must be durable: a commit that a power
 * failure could undo would leave two databases that both say "moved".
 * @param migration whose row was read: epochs recur from one migration of a file to the next, and a process that was
 *   suspended in between must not open what a later migration has moved
 * @returns whether the source is open with this epoch now
 */
export function openAgain(db: Database.Database, migration: string, epoch: number): boolean {
  const opened = db
    .prepare(
      `UPDATE ${CONTROL_TABLE}
          SET state = 'open', epoch = ?, fence_token = NULL, deadline = NULL, read_percent = 0, dual_writes = 0
        WHERE id = 1 AND state = 'moved' AND epoch = ? AND migration = ?`,
    )
    .run(epoch, epoch - 1, migration);
  if (opened.changes === 1) {
    resumeTriggers(db);
    db.prepare(`UPDATE ${LEASE_TABLE} SET epoch = ?, holder = ''`).run(epoch);
  }
  const row = readControl(db);
  return row !== null && row.migration === migration && row.epoch === epoch && row.state !== 'moved';
}

/** `openAgain` in a transaction of its own, whatever the connection's durability is. */
export function openAgainDurably(db: Database.Database, migration: string, epoch: number): boolean {
  const synchronous = db.pragma('synchronous', { simple: true });
  db.pragma('synchronous = FULL');
  try {
    return db.transaction(() => openAgain(db, migration, epoch)).immediate();
  } finally {
    db.pragma(`synchronous = ${String(synchronous)}`);
  }
}
