/** One lane's access to the database: measures every operation and keeps the journal of its writes. */
import type { Figures } from './figures.ts';
import type { Effect, Journal, Owners, Values } from './journal.ts';
import { outcomeOf } from './outcome.ts';
import type { Row, Sql, Store, Value } from './store.ts';

export interface Write {
  operation: string;
  owners: Owners;
  effects: Effect[];
  /** The database or the application must refuse it. */
  mustBeRefused?: boolean;
  /** Rows that it must change; only this lane writes to them, so that any other number is a wrong answer. */
  changes: number;
  send(store: Store): Promise<Sent>;
}

/** `returned`: what the database returned, one entry per effect. */
export interface Sent {
  changes: number;
  returned: (Row | null)[];
}

export type Written = { outcome: 'ack'; returned: (Row | null)[] } | { outcome: 'refused' | 'unknown' };

export class Client {
  readonly #store: Store;
  readonly #journal: Journal;
  readonly #figures: Figures;

  constructor(store: Store, journal: Journal, figures: Figures) {
    this.#store = store;
    this.#journal = journal;
    this.#figures = figures;
  }

  /** Rows, or null where the read failed (counted as an error). With `key`, the reader sees its own writes. */
  async read(sql: Sql, params: Value[], key?: string): Promise<Row[] | null> {
    const start = performance.now();
    try {
      const rows = await this.#store.query<Row>(sql, params, key === undefined ? {} : { key });
      this.#figures.read(performance.now() - start);
      return rows;
    } catch (error) {
      this.#figures.error(`read: ${describe(error)}`);
      return null;
    }
  }

  async write(write: Write): Promise<Written> {
    const n = this.#journal.attempt(write.operation, write.owners, write.effects);
    const start = performance.now();
    this.#figures.writeSent();
    try {
      const { changes, returned } = await write.send(this.#store);
      const primary = this.#store.primary();
      this.#journal.acknowledged(n, primary, returned.map(journaled));
      this.#figures.writeAcknowledged(performance.now() - start, primary);
      if (write.mustBeRefused === true) {
        this.#figures.wrongAnswer(`${write.operation}: accepted although it had to be refused`);
      } else if (changes !== write.changes) {
        this.#figures.wrongAnswer(`${write.operation}: changed ${changes} rows instead of ${write.changes}`);
      }
      return { outcome: 'ack', returned };
    } catch (error) {
      const outcome = outcomeOf(error);
      this.#journal.failed(n, outcome, describe(error));
      this.#figures.writeFailed(
        outcome,
        write.mustBeRefused === true,
        `${write.operation}: ${describe(error)}`,
      );
      return { outcome };
    }
  }

  staleRead(what: string): void {
    this.#figures.staleRead(what);
  }
}

function journaled(row: Row | null): Values | null {
  if (row === null) return null;
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => {
      if (value === null || typeof value === 'string' || typeof value === 'number') return [column, value];
      if (value instanceof Uint8Array) return [column, { hex: Buffer.from(value).toString('hex') }];
      return [column, String(value)];
    }),
  );
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? `${error.message} (${code})` : error.message;
}
