/** The control row as every write, and every read, of the source sees it: two cheap prepared statements. */
import type Database from 'better-sqlite3';
import { CONTROL_TABLE, hasControl, LOG_TABLE, REFUSES } from '../databases/sqlite/control.ts';
import { messageOf } from '../errors.ts';

export type Look =
  /** `version`: SQLite's schema version, which changes when a control table comes or goes. */
  | { present: false; version: number }
  | {
      present: true;
      refuses: boolean;
      moved: boolean;
      readPercent: number;
      dualWrites: boolean;
      dualWriteTimeoutMs: number;
      /** Highest position of the change log. */
      head: number;
    };

/** The table without its row: fenced, as the triggers see it. */
const WITHOUT_ROW: Look = {
  present: true,
  refuses: true,
  moved: false,
  readPercent: 0,
  dualWrites: false,
  dualWriteTimeoutMs: 0,
  head: 0,
};

const HEAD = `SELECT coalesce(max(seq), 0) FROM ${LOG_TABLE}`;
const LOOK = `SELECT ${REFUSES} IS NOT 0, state = 'moved', read_percent, dual_writes, dual_write_timeout_ms, (${HEAD})
  FROM ${CONTROL_TABLE} WHERE id = 1`;

export class SourceControl {
  readonly #db: Database.Database;
  readonly #version: Database.Statement;
  #look: Database.Statement | undefined;
  #head: Database.Statement | undefined;
  /** Schema version for which the control table is known to be missing. */
  #absentAt = -1;

  constructor(db: Database.Database) {
    this.#db = db;
    this.#version = db.prepare('PRAGMA schema_version').pluck();
  }

  /** One row read; inside the caller's transaction if there is one. */
  look(): Look {
    if (this.#look === undefined) {
      const version = this.#version.get() as number;
      if (version === this.#absentAt) return { present: false, version };
      if (!hasControl(this.#db)) {
        this.#absentAt = version;
        return { present: false, version };
      }
      this.#look = this.#db.prepare(LOOK).raw();
      this.#head = this.#db.prepare(HEAD).pluck();
    }
    let row: number[] | undefined;
    try {
      row = this.#look.get() as number[] | undefined;
    } catch (error) {
      if (!messageOf(error).includes('no such table')) throw error;
      // The migration has finished or was rolled back.
      this.#look = undefined;
      return this.look();
    }
    if (row === undefined) return WITHOUT_ROW;
    const [refuses, moved, readPercent, dualWrites, dualWriteTimeoutMs, head] = row as Columns;
    return {
      present: true,
      refuses: refuses === 1,
      moved: moved === 1,
      readPercent,
      dualWrites: dualWrites === 1,
      dualWriteTimeoutMs,
      head,
    };
  }

  /** Highest position of the change log; 0 where there is none. */
  head(): number {
    return this.#look === undefined ? 0 : (this.#head?.get() as number);
  }
}

type Columns = [number, number, number, number, number, number];
