/** The numbers that AUTOINCREMENT has given out. */
import type Database from 'better-sqlite3';

/** Values of sqlite_sequence by table name; empty where no table has AUTOINCREMENT. */
export function sqliteSequences(db: Database.Database): Map<string, bigint> {
  const present =
    db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'`).get() !== undefined;
  if (!present) return new Map();
  const rows = db.prepare('SELECT name, seq FROM sqlite_sequence').safeIntegers().all() as {
    name: string;
    seq: bigint;
  }[];
  return new Map(rows.map(({ name, seq }) => [name, seq]));
}
