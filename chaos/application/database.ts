/** The database of a chaos run: what can be torn, doubled, lost or brought back is in it, and little else. */
import Database from 'better-sqlite3';

export const ACCOUNTS = 20;
export const COUNTERS = 5;
export const BALANCE = 1_000;

const TABLES = [
  `CREATE TABLE entry (
    client INTEGER NOT NULL, k INTEGER NOT NULL, slot INTEGER UNIQUE, n INTEGER NOT NULL DEFAULT 0, v TEXT NOT NULL,
    PRIMARY KEY (client, k))`,
  `CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT, client INTEGER NOT NULL, k INTEGER NOT NULL, note TEXT,
    FOREIGN KEY (client, k) REFERENCES entry (client, k) ON DELETE CASCADE ON UPDATE CASCADE)`,
  `CREATE INDEX item_entry ON item (client, k)`,
  `CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))`,
  `CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)`,
  `CREATE TABLE operation (id INTEGER PRIMARY KEY, client INTEGER NOT NULL, number INTEGER NOT NULL)`,
  // Rows that nobody changes, so that the copy takes long enough to be hit.
  `CREATE TABLE ballast (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, amount REAL, note TEXT)`,
];

/** For one transaction on an empty database. @param ballast rows of the table that nobody changes */
export function databaseSql(ballast: number): string[] {
  return [
    ...TABLES,
    `INSERT INTO account SELECT n, ${BALANCE} FROM ${numbers(ACCOUNTS)}`,
    `INSERT INTO counter SELECT n, 0 FROM ${numbers(COUNTERS)}`,
    `INSERT INTO ballast SELECT n, 'code ' || n, n / 7.0, replace(hex(zeroblob(n % 90)), '00', 'x') FROM ${numbers(ballast)}`,
  ];
}

function numbers(last: number): string {
  return `(WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ${last}) SELECT n FROM i)`;
}

/** Creates the file in WAL mode. @param ballast as of `databaseSql` */
export function createDatabase(path: string, ballast: number): void {
  const db = new Database(path);
  try {
    db.pragma('journal_mode = WAL');
    db.transaction(() => {
      for (const sql of databaseSql(ballast)) db.exec(sql);
    })();
  } finally {
    db.close();
  }
}
