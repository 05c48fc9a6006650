/** The schema of the generated database: rows of mixed width, every kind of column, five secondary indexes, two foreign keys. */

export const SCHEMA = `
  CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL, name TEXT NOT NULL, about TEXT,
    active BOOLEAN NOT NULL, score REAL, picture BLOB, created_at DATETIME NOT NULL);
  CREATE TABLE event (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES account (id), kind TEXT NOT NULL, amount DECIMAL(12,2), ratio REAL,
    payload JSON, note TEXT, at DATETIME NOT NULL);
  CREATE TABLE rating (
    account_id INTEGER NOT NULL REFERENCES account (id), item TEXT NOT NULL, stars INTEGER NOT NULL, weight REAL, comment TEXT,
    PRIMARY KEY (account_id, item)) WITHOUT ROWID;
`;

/** Made after the rows are in. */
export const INDEXES = `
  CREATE UNIQUE INDEX account_email ON account (email);
  CREATE INDEX account_created ON account (created_at DESC);
  CREATE INDEX event_account ON event (account_id, at);
  CREATE INDEX event_amount ON event (amount) WHERE amount IS NOT NULL;
  CREATE INDEX rating_item ON rating (item, stars);
`;

/** Rows of each table in a database of `rows` rows. */
export function sharesOf(rows: number): { accounts: number; events: number; ratings: number } {
  const accounts = Math.max(1, Math.floor(rows / 10));
  const ratings = Math.floor((rows * 3) / 10);
  return { accounts, ratings, events: rows - accounts - ratings };
}
