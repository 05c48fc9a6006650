/**
 * The application's own record of what it was told about its writes, one JSON line each. An attempt is written before
 * the write is sent and its outcome after the answer, so that an attempt without an outcome is known to be unknown.
 */
import { closeSync, openSync, writeSync } from 'node:fs';

/** What one write does to one row. Values are as the application gave them; the database adds ids and defaults. */
export type Effect =
  /** A new row; with `replace`, rows that hold one of its unique values make way. */
  | { kind: 'insert' | 'replace'; table: string; values: Values }
  /** A new row, or new values for the row with this key. */
  | { kind: 'upsert'; table: string; values: Values }
  | { kind: 'update'; table: string; key: number[]; set?: Values; add?: Record<string, number> }
  | { kind: 'delete'; table: string; key: number[] };

/** A BLOB is written as `{ hex }`. */
export type Values = Record<string, string | number | null | { hex: string }>;

/** Whose rows a write may touch, cascades included: these are uncertain where its outcome is unknown. */
export interface Owners {
  users: number[];
  content: number[];
}

export interface Attempt {
  n: number;
  type: 'attempt';
  at: number;
  operation: string;
  owners: Owners;
  effects: Effect[];
}

export type Outcome =
  /** `returned[i]`: what the database returned for effect i, such as its id. `primary`: who acknowledged it. */
  | { n: number; type: 'ack'; at: number; primary: 'source' | 'target'; returned: (Values | null)[] }
  /** Certainly not applied. */
  | { n: number; type: 'refused'; at: number; error: string }
  /** May or may not have been applied. */
  | { n: number; type: 'unknown'; at: number; error: string };

export type JournalLine = Attempt | Outcome;

export class Journal {
  readonly #file: number;
  #n = 0;

  /** @param path a file that does not exist yet */
  constructor(path: string) {
    this.#file = openSync(path, 'ax');
  }

  /** Records that a write is about to be sent; returns its number. */
  attempt(operation: string, owners: Owners, effects: Effect[]): number {
    const n = ++this.#n;
    this.#append({ n, type: 'attempt', at: Date.now(), operation, owners, effects });
    return n;
  }

  acknowledged(n: number, primary: 'source' | 'target', returned: (Values | null)[]): void {
    this.#append({ n, type: 'ack', at: Date.now(), primary, returned });
  }

  failed(n: number, type: 'refused' | 'unknown', error: string): void {
    this.#append({ n, type, at: Date.now(), error });
  }

  close(): void {
    closeSync(this.#file);
  }

  // Synchronous, so that the line is with the operating system before the write is sent: a killed application
  // leaves a complete journal. It costs a few microseconds.
  #append(line: JournalLine): void {
    writeSync(this.#file, JSON.stringify(line) + '\n');
  }
}
