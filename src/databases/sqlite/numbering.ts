/**
 * Tables without a key are told apart by SQLite's row numbers, which hold only until a VACUUM: it numbers the rows of
 * a table without an index anew, from 1 (https://sqlite.org/lang_vacuum.html). A table of ours has one row whose number
 * is random; once that is 1, every such number may stand for another row. In one snapshot, so nothing is read between.
 */
import { randomInt } from 'node:crypto';
import type Database from 'better-sqlite3';
import { CrossfadeError } from '../../errors.ts';
import { writeTransaction } from './transaction.ts';

export const NUMBERING_TABLE = '_crossfade_numbering';

/** SQL of the numbering's name, as `number`; fails where there is no numbering. */
export const NUMBERING_SQL = `SELECT rowid AS number FROM ${NUMBERING_TABLE}`;

/** What a VACUUM makes of the number. */
const VACUUMED = 1n;

/** Without an index, and not an INTEGER PRIMARY KEY: either would keep its number. */
export function installNumbering(db: Database.Database): void {
  db.exec(`CREATE TABLE IF NOT EXISTS ${NUMBERING_TABLE} (v)`);
  if (numberingOf(db) === null) db.exec(`INSERT INTO ${NUMBERING_TABLE} (rowid) VALUES (${newNumber()})`);
}

/** The name of the numbering that holds in this snapshot; null where no table is told apart by its numbers. */
export function numberingOf(db: Database.Database): bigint | null {
  const present = db.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(NUMBERING_TABLE) !== undefined;
  if (!present) return null;
  const number = db.prepare(NUMBERING_SQL).pluck().safeIntegers().get();
  return (number as bigint | undefined) ?? null;
}

/** Gives a numbering that a VACUUM has made a name of its own, so that the next VACUUM is noticed too. Any worker may do it. */
export async function nameNumbering(writer: Database.Database): Promise<void> {
  await writeTransaction(writer, () => {
    writer.exec(`UPDATE ${NUMBERING_TABLE} SET rowid = ${newNumber()} WHERE rowid = ${VACUUMED}`);
  });
}

export function isUnnamed(numbering: bigint | null): boolean {
  return numbering === VACUUMED;
}

function newNumber(): number {
  return randomInt(2, 2 ** 47);
}

/** Raised inside a snapshot whose row numbers are not those that the reader began with. */
export class Renumbered extends CrossfadeError {
  constructor(path: string) {
    super(
      'SourceStale',
      `source ${path}: a VACUUM has numbered its rows anew, so tables without a key are read again`,
    );
  }
}
