/** The database of a chaos run: what can be torn, doubled, lost or brought back is in it, and little else. */
import Database from 'better-sqlite3';

export const ACCOUNTS = 20;
export const COUNTERS = 5;
export const BALANCE = 1_000;

/** Rows that nobody changes, so that the copy takes long enough to be hit. */
const SCHEMA = `
  CREATE TABLE entry (
    client INTEGER NOT NULL, k INTEGER NOT NULL, slot INTEGER UNIQUE, n INTEGER NOT NULL DEFAULT 0, v TEXT NOT NULL,
    PRIMARY KEY (client, k));
  CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT, client INTEGER NOT NULL, k INTEGER NOT NULL, note TEXT,
    FOREIGN KEY (client, k) REFERENCES entry (client, k) ON DELETE CASCADE ON UPDATE CASCADE);
  CREATE INDEX item_entry ON item (client, k);
  CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0));
  CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
  CREATE TABLE operation (id INTEGER PRIMARY KEY, client INTEGER NOT NULL, number INTEGER NOT NULL);
  CREATE TABLE ballast (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, amount REAL, note TEXT);
`;

/** Creates the file in WAL mode. @param ballast rows of the table that nobody changes */
export function createDatabase(path: string, ballast: number): void {
  const db = new Database(path);
  try {
    db.pragma('journal_mode = WAL');
    db.exec(SCHEMA);
    db.transaction(() => {
      const account = db.prepare('INSERT INTO account VALUES (?, ?)');
      for (let id = 1; id <= ACCOUNTS; id++) account.run(id, BALANCE);
      const counter = db.prepare('INSERT INTO counter VALUES (?, 0)');
      for (let id = 1; id <= COUNTERS; id++) counter.run(id);
      const row = db.prepare('INSERT INTO ballast VALUES (?, ?, ?, ?)');
      for (let id = 1; id <= ballast; id++) row.run(id, `code ${id}`, id / 7, 'x'.repeat(id % 90));
    })();
  } finally {
    db.close();
  }
}
