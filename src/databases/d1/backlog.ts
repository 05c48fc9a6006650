/**
 * What was read of the change log and waits for its end, in a temporary database: a worker that was away for a night has more to take
 * over than its memory holds.
 */
import { deserialize, serialize } from 'node:v8';
import Database from 'better-sqlite3';
import { InvalidText } from '../invalid-text.ts';
import type { KeyValue } from '../key.ts';

export interface Change {
  seq: bigint;
  token: bigint;
  /** Number of the table, as the log has it. */
  table: number;
  key: KeyValue[];
}

/** Of one snapshot. */
export interface LogPart {
  changes: Change[];
  /** The rows that the changes name, by number of their table. */
  images: [table: number, rows: KeyValue[][]][];
}

export class Backlog {
  private readonly db: Database.Database;
  private readonly insert: Database.Statement<[Buffer]>;

  constructor() {
    // Without a name: SQLite keeps what its cache holds in memory, and a file for the rest, which goes with the connection.
    this.db = new Database('');
    this.db.exec('CREATE TABLE parts (n INTEGER PRIMARY KEY, part BLOB NOT NULL)');
    this.insert = this.db.prepare('INSERT INTO parts (part) VALUES (?)');
  }

  add(part: LogPart): void {
    this.insert.run(serialize(part));
  }

  /** In the order in which they were added. */
  *parts(): Generator<LogPart> {
    const all = this.db.prepare<[], Buffer>('SELECT part FROM parts ORDER BY n').pluck();
    for (const part of all.iterate()) {
      const { changes, images } = deserialize(part) as LogPart;
      yield {
        changes: changes.map((change) => ({ ...change, key: change.key.map(revived) })),
        images: images.map(([table, rows]) => [table, rows.map((row) => row.map(revived))]),
      };
    }
  }

  close(): void {
    this.db.close();
  }
}

/** A class is not serialized, only its fields are. */
function revived(value: KeyValue): KeyValue {
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value)) return value;
  return new InvalidText(value.bytes);
}
