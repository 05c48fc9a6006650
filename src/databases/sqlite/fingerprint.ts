/** A short name for the state of the application's schema, to notice DDL between two moments. */
import { createHash } from 'node:crypto';
import type Database from 'better-sqlite3';
import { OURS } from './our-triggers.ts';

interface Reader {
  version: Database.Statement<[], number>;
  objects: Database.Statement<[], [string, string, string, string | null]>;
  last?: { version: number; fingerprint: string };
}

const readers = new WeakMap<Database.Database, Reader>();

/**
 * sha256 in hex over type, name, table and SQL of every table, index and view of the application. Triggers are left out:
 * the cutover suspends the application's, and capture watches for new ones by itself. SQLite's own objects (statistics,
 * automatic indexes) and Cloudflare's are left out, ours too. Cheap enough for every poll: SQLite counts changes of
 * the schema, and only a new count makes it be read again.
 */
export function schemaFingerprint(db: Database.Database): string {
  const reader = readerOf(db);
  const version = reader.version.get()!;
  if (reader.last?.version === version) return reader.last.fingerprint;
  const hash = createHash('sha256');
  for (const row of reader.objects.all()) {
    // Lengths keep ("a", "bc") and ("ab", "c") apart.
    for (const field of row) hash.update(field === null ? '-;' : `${field.length}:${field};`);
  }
  const fingerprint = hash.digest('hex');
  // After DDL of our own that is rolled back, another schema could get the same count.
  if (db.readonly || !db.inTransaction) reader.last = { version, fingerprint };
  return fingerprint;
}

function readerOf(db: Database.Database): Reader {
  let reader = readers.get(db);
  if (reader === undefined) {
    const own = (column: string): string =>
      `(${column} LIKE ${OURS} ESCAPE '\\' OR ${column} LIKE '\\_cf\\_%' ESCAPE '\\')`;
    reader = {
      version: db.prepare<[], number>(`PRAGMA schema_version`).pluck(),
      objects: db
        .prepare<[], [string, string, string, string | null]>(
          `SELECT type, name, tbl_name, sql FROM sqlite_master
            WHERE type <> 'trigger' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND NOT ${own('name')} AND NOT ${own('tbl_name')}
            ORDER BY name, type`,
        )
        .raw() as unknown as Reader['objects'],
    };
    readers.set(db, reader);
  }
  return reader;
}
