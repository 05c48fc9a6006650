/**
 * Watches that this process still shares the source's WAL with everyone else.
 *
 * POSIX takes all locks of a process from a file as soon as the process closes any descriptor of it
 * (https://sqlite.org/howtocorrupt.html, "Posix advisory locks canceled by a separate thread doing close()"). So nothing
 * in a process with a connection may open the database file except through SQLite, be it for its first bytes: another
 * program, when it ends, takes itself for the last one and deletes the WAL. Connections here would then go on with the
 * deleted file, see no write of others, and make writes that others never see.
 */
import { statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { CrossfadeError } from '../../errors.ts';

/** By the database file's identity: connections of this process, and the WAL that the first of them opened. */
const files = new Map<string, { connections: number; wal: string | null }>();

function identity(path: string): string | null {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? null : `${found.dev}:${found.ino}`;
}

/**
 * Counts a connection until it is closed. It must have read from the file, which opens the WAL.
 * @throws CrossfadeError SourceStale, with the connection still open
 */
export function registered(db: Database.Database): Database.Database {
  const file = identity(db.name) ?? db.name;
  const entry = files.get(file);
  if (entry === undefined) {
    files.set(file, { connections: 1, wal: identity(walOf(db.name)) });
  } else {
    proveWal(db.name);
    entry.connections++;
  }
  const close = db.close.bind(db);
  db.close = () => {
    if (db.open) {
      const last = files.get(file)!;
      last.connections--;
      // SQLite lets go of the WAL with the last connection, and the next one opens what is there then.
      if (last.connections === 0) files.delete(file);
    }
    return close();
  };
  return db;
}

/**
 * Proves that the WAL at this path is the one that the connections of this process have open.
 * @throws CrossfadeError SourceStale
 */
export function proveWal(path: string): void {
  const entry = files.get(identity(path) ?? path);
  if (entry === undefined) return;
  const wal = identity(walOf(path));
  entry.wal ??= wal;
  if (entry.wal === wal) return;
  throw new CrossfadeError(
    'SourceStale',
    `source ${path}: its WAL was deleted or replaced while this process had it open, so it no longer sees what others ` +
      'write: never open, copy or delete the file or its -wal in a process that uses it; start this process again',
  );
}

function walOf(path: string): string {
  return `${path}-wal`;
}
