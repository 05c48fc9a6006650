/**
 * A file may be the local mirror of a remote database. Everything reads the mirror; what changes the source is done at
 * its origin, and comes into the mirror from there.
 */
import type Database from 'better-sqlite3';
import type { Finding, TablePlan } from '../../contract.ts';

/** Rows that come back from the target, in temporary tables of the connection. */
export interface StagedTable {
  table: TablePlan;
  /** Every row of the table is replaced. */
  all: boolean;
  /** SQL names of the tables of keys, and of rows. */
  keys: string;
  rows: string;
}

export interface AuditDifference {
  table: string;
  key: string;
  kind: 'only at the origin' | 'only in the mirror' | 'different';
}

export interface Origin {
  /** Brings the mirror to what the origin holds now. @throws CrossfadeError SourceBusy, SourceDenied, SourceMissing */
  refresh(): Promise<void>;
  /**
   * Does at the origin, atomically, what the synchronous `work` does to the mirror, provided that what `work` read there
   * is still so at the origin; else again on the newer state. When this returns, the mirror has the result.
   * @param rows does `work` change the application's rows?
   */
  change<T>(db: Database.Database, work: () => T, rows: boolean): Promise<T>;
  /** Within such work: puts staged rows into the mirror by `put`, and at the origin in its own way, see `returningSql`. */
  putRows(db: Database.Database, staged: StagedTable[], put: () => Map<TablePlan, Set<bigint>>): void;
  /**
   * Reads the tables' rows at the origin again and compares them with the mirror, byte by byte.
   * @returns rows that differ although nothing has changed them meanwhile, by table and `keyText`; none where the mirror is exact
   */
  audit(tables: string[], signal?: AbortSignal): Promise<AuditDifference[]>;
  /** Notes a moment to which the origin can be put back. @returns what it is, and the command that does so */
  backUp(): Promise<string>;
  /** What a plan says of the origin, besides its schema and rows. */
  notices(): Finding[];
  /** Prepares a connection that is about to write. */
  attach(db: Database.Database): void;
  /** Watches the origin until `stop`, so that what is written there arrives in the mirror. */
  follow(onError: (error: unknown) => void): { stop(): Promise<void> };
}

/** The master table of a mirror: triggers are not in its own, because they would fire on rows that arrive. */
export const MASTER_TABLE = '_crossfade_master';

const origins = new Map<string, Origin>();

/** @param path of the mirror; @param origin undefined where it is closed */
export function setOrigin(path: string, origin: Origin | undefined): void {
  if (origin === undefined) origins.delete(path);
  else origins.set(path, origin);
}

export function originOf(path: string): Origin | undefined {
  return origins.get(path);
}

/** Name of the table that lists the source's triggers. */
export function masterOf(db: Database.Database): string {
  return origins.has(db.name) ? MASTER_TABLE : 'sqlite_master';
}

/** Before something is decided by what the source holds. Nothing to do where the file is the source itself. */
export async function refreshed(db: Database.Database): Promise<void> {
  await origins.get(db.name)?.refresh();
}
