/** Values as parameters of a statement: a text that is not valid UTF-8 can only be bound as bytes. */
import type Database from 'better-sqlite3';
import { InvalidText } from '../invalid-text.ts';
import type { KeyValue } from '../key.ts';

/** A parameter mark for each value. */
export function marksOf(values: KeyValue[]): string[] {
  return values.map((value) => (value instanceof InvalidText ? 'CAST(? AS TEXT)' : '?'));
}

export function bound(values: KeyValue[]): unknown[] {
  return values.map((value) => (value instanceof InvalidText ? value.bytes : value));
}

/** Runs one statement for many rows of values, prepared once for each form of its marks. */
export class RowStatement {
  private readonly db: Database.Database;
  private readonly sql: (marks: string[]) => string;
  private readonly prepared = new Map<string, Database.Statement>();

  constructor(db: Database.Database, sql: (marks: string[]) => string) {
    this.db = db;
    this.sql = sql;
  }

  run(values: KeyValue[]): void {
    const marks = marksOf(values);
    const form = marks.join();
    let statement = this.prepared.get(form);
    if (statement === undefined) {
      statement = this.db.prepare(this.sql(marks));
      this.prepared.set(form, statement);
    }
    statement.run(...bound(values));
  }
}
