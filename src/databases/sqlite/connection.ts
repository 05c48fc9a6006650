/** Opens the source as the engine needs it. */
import { existsSync, statSync } from 'node:fs';
import Database from 'better-sqlite3';
import { CrossfadeError, driverCode, messageOf } from '../../errors.ts';
import { defineFunctions } from './encode.ts';
import { originOf } from './origin.ts';
import { proveWal, registered } from './wal-file.ts';

/** How long a synchronous call may wait for SQLite's write lock; it blocks the event loop, so callers retry instead. */
const BUSY_TIMEOUT_MS = 200;

/**
 * Opens an existing SQLite database in WAL mode.
 * @throws CrossfadeError SourceMissing, SourceNotSqlite, SourceNotWal, SourceBusy, SourceStale
 */
export function openSource(path: string, mode: 'read' | 'write'): Database.Database {
  checkFile(path);
  let db: Database.Database;
  try {
    db = new Database(path, { readonly: mode === 'read', fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
  } catch (error) {
    throw sourceError(path, error);
  }
  try {
    const journal = db.pragma('journal_mode', { simple: true });
    if (journal !== 'wal') {
      throw new CrossfadeError(
        'SourceNotWal',
        `source ${path} is in journal mode "${String(journal)}": readers would block its writers. ` +
          `Run once: sqlite3 '${path}' 'PRAGMA journal_mode=WAL'`,
      );
    }
    // better-sqlite3 is compiled with synchronous=NORMAL for WAL, which does not fsync a commit: the fence must be durable.
    db.pragma('synchronous = FULL');
    // 16 MB per connection by default, which reading a table once fills and never uses.
    db.pragma('cache_size = -2000');
    // What the engine writes into the source has been checked where it came from; cascades would change other rows.
    db.pragma('foreign_keys = OFF');
    db.pragma('recursive_triggers = OFF');
    defineFunctions(db);
    if (mode === 'write') originOf(path)?.attach(db);
    return registered(db);
  } catch (error) {
    db.close();
    throw error instanceof CrossfadeError ? error : sourceError(path, error);
  }
}

/** Never opens the file: see `wal-file.ts`. */
function checkFile(path: string): void {
  if (!existsSync(path)) {
    throw new CrossfadeError('SourceMissing', `source ${path} does not exist: check the path`);
  }
  const found = statSync(path);
  if (!found.isFile()) {
    throw new CrossfadeError(
      'SourceNotSqlite',
      `source ${path} is not a file: name the SQLite database file`,
    );
  }
  // SQLite takes it for a database without tables, which is what a misspelt path leaves behind.
  if (found.size === 0) {
    throw new CrossfadeError('SourceNotSqlite', `source ${path} is empty (0 bytes): check the path`);
  }
}

/** Tells one file from another at the same path: an open connection goes on with the file that was there. */
export class SourceFile {
  private readonly path: string;
  private readonly opened: string;

  /** @param path of the file that is about to be opened. @throws CrossfadeError SourceMissing, SourceNotSqlite */
  constructor(path: string) {
    checkFile(path);
    this.path = path;
    this.opened = identity(path);
  }

  /** @throws CrossfadeError LogDiscontinuity, SourceMissing, SourceStale */
  proveSame(): void {
    checkFile(this.path);
    if (identity(this.path) === this.opened) return proveWal(this.path);
    throw new CrossfadeError(
      'LogDiscontinuity',
      `source ${this.path}: the file was replaced by another under the migration: roll back and start again`,
    );
  }
}

function identity(path: string): string {
  const { dev, ino } = statSync(path);
  return `${dev}:${ino}`;
}

/** Maps a driver's error to one of ours, keeping it as cause. */
export function sourceError(path: string, error: unknown): CrossfadeError {
  const code = driverCode(error);
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    return new CrossfadeError(
      'SourceBusy',
      `source ${path} is locked by another connection: end its long transaction, or its PRAGMA locking_mode=EXCLUSIVE`,
      error,
    );
  }
  if (code === 'SQLITE_NOTADB') {
    return new CrossfadeError(
      'SourceNotSqlite',
      `source ${path} is not a SQLite database (encrypted, or another file?)`,
      error,
    );
  }
  if (code.startsWith('SQLITE_CORRUPT')) return sourceCorrupt(path, messageOf(error), error);
  if (/^SQLITE_(CANTOPEN|READONLY|PERM|AUTH)/.test(code)) {
    return new CrossfadeError(
      'SourceDenied',
      `source ${path} cannot be opened by this user (${messageOf(error)}): it needs permission to read and write the file ` +
        'and its directory, where SQLite keeps the -wal and -shm beside it',
      error,
    );
  }
  return new CrossfadeError('Internal', `source ${path}: ${messageOf(error)}`, error);
}

/** @param what as SQLite says it */
export function sourceCorrupt(path: string, what: string, cause?: unknown): CrossfadeError {
  return new CrossfadeError(
    'SourceCorrupt',
    `source ${path} is damaged (${what.replaceAll(/\s+/g, ' ')}): restore a backup, or recover it with ` +
      `sqlite3 '${path}' .recover | sqlite3 recovered.db; PRAGMA integrity_check tells more`,
    cause,
  );
}
