/**
 * The source behind a D1 binding. Every statement goes in a batch, which D1 runs as one transaction, together with one that
 * looks at the control row: what is read was read on the primary, and what is written is written by the primary or not at all.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Operation, Row, Sql, Value, WriteResult } from '../databases/adapter.ts';
import { quoted } from '../databases/identifiers.ts';
import {
  CONTROL_TABLE,
  LEASE_TABLE,
  LOG_TABLE,
  NOW_MS,
  REFUSES,
  SUSPENDED_TABLE,
} from '../databases/sqlite/control.ts';
import { CrossfadeError } from '../errors.ts';
import { FENCED, isFenceRefusal, type ControlState } from '../protocol.ts';
import type { ReadableSource } from '../router/reads.ts';
import type { Route, SourceView } from '../router/route.ts';
import type { ComparedSource } from '../router/shadow.ts';
import type { SwitchableSource } from '../router/switchboard.ts';
import { mayBeRounded } from '../router/values.ts';
import type { Done, Written } from '../router/writes.ts';
import type { D1Database, D1Result } from './d1.ts';
import { D1StatementError, d1Error, isControlMissing, isLost } from './errors.ts';
import { exactly, fromCells, withBuffers } from './rows.ts';
import { d1Reading, d1Statement, type Statement } from './statements.ts';

/** D1 has no schema version to ask for: presence is all that is known of a source without control table. */
const ABSENT: SourceView = { control: 'absent', version: 0 };

const plain = (text: string, ...values: Statement['values']): Statement => ({ text, values });

/** Before a read that was lost is sent again, ms: 100 to 200, then 400 to 800. */
const READ_AGAIN_MS = [100, 400];

/** An error whose message has FENCED, which SQLite raises only where it evaluates it: RAISE is for triggers alone. */
const REFUSE = `json_extract('{}', '${FENCED}')`;

const PRESENT = `EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '${CONTROL_TABLE}')`;
const VIEW = `SELECT migration, epoch, state, fence_token, deadline - ${NOW_MS} AS left_ms, read_percent, dual_writes,
  dual_write_timeout_ms, open_token FROM ${CONTROL_TABLE} WHERE id = 1`;
const HEAD = `SELECT coalesce(max(seq), 0) AS head FROM ${LOG_TABLE}`;

/** Before a read. */
const READING = `SELECT (SELECT state FROM ${CONTROL_TABLE} WHERE id = 1) IS 'moved' AS passed`;
const READING_WITHOUT_CONTROL = `SELECT ${PRESENT} AS passed`;

/** Before a write; also what the statements' counts are taken from. A missing row refuses. */
const ADMISSION = `SELECT total_changes() AS total, (${HEAD}) AS head, c.migration, c.dual_writes, c.dual_write_timeout_ms,
  CASE WHEN ${REFUSES} IS NOT 0 THEN ${REFUSE} END
  FROM (SELECT 1) LEFT JOIN ${CONTROL_TABLE} c ON c.id = 1`;
const ADMISSION_WITHOUT_CONTROL = `SELECT total_changes() AS total, 0 AS head, CASE WHEN ${PRESENT} THEN ${REFUSE} END`;

/** After each statement: meta.changes would count the rows of triggers, ours among them. */
const CHANGES = `SELECT changes() AS changes, total_changes() AS total`;

interface Admitted {
  total: number;
  head: number;
  migration?: string;
  dual_writes?: number;
  dual_write_timeout_ms?: number;
}

/** As `Written`, with the name of the migration whose log has the position. */
export interface WrittenOnD1 extends Written {
  migration: string | undefined;
}

export class D1Source implements SwitchableSource, ReadableSource, ComparedSource {
  readonly #db: D1Database;
  /** A control table has been seen: most likely it is still there, and need not be looked for first. */
  #present = false;

  /** @throws CrossfadeError BadConnection for a session, whose reads may be older than its control row */
  constructor(db: D1Database) {
    if ('getBookmark' in db) {
      throw new CrossfadeError(
        'BadConnection',
        'the source is a session of D1 (withSession), which may answer from a replica: give the binding itself, as env.DB',
      );
    }
    this.#db = db;
  }

  async view(): Promise<SourceView> {
    let row: Record<string, unknown> | undefined;
    try {
      if (!this.#present) {
        const [found] = await this.#readRows(plain(`SELECT ${PRESENT} AS present`));
        if (found?.[0]?.['present'] !== 1) return ABSENT;
        this.#present = true;
      }
      row = (await this.#readRows(plain(VIEW)))[0]?.[0];
    } catch (error) {
      if (!isControlMissing(error)) throw error;
      this.#present = false;
      return ABSENT;
    }
    if (row === undefined) return { control: 'broken' };
    return {
      control: 'present',
      row: {
        migration: row['migration'] as string,
        epoch: row['epoch'] as number,
        state: row['state'] as ControlState,
        fenceToken: row['fence_token'] as string | null,
        fenceLeftMs: row['left_ms'] as number | null,
        readPercent: row['read_percent'] as number,
        dualWrites: row['dual_writes'] === 1,
        dualWriteTimeoutMs: row['dual_write_timeout_ms'] as number,
      },
      openToken: row['open_token'] as string | null,
    };
  }

  /** As old as the route: another statement would cost a round trip. */
  readPercent(route: Route): number {
    return route.readPercent;
  }

  /** @throws D1StatementError; D1's errors */
  async read<T>(sql: Sql, params: readonly Value[], route: Route): Promise<{ rows: T[]; inRole: boolean }> {
    const guard = plain(route.sourceVersion === null ? READING : READING_WITHOUT_CONTROL);
    try {
      const { rows, guarded } = await this.#read(d1Reading(sql, params), guard);
      return { rows: rows as T[], inRole: guarded?.['passed'] === 0 };
    } catch (error) {
      const mapped = d1Error(error, false);
      if (typeof mapped === 'object' && mapped !== null && isFenceRefusal(mapped)) {
        return { rows: [], inRole: false };
      }
      throw mapped;
    }
  }

  async query(sql: Sql, params: readonly Value[]): Promise<Row[]> {
    return (await this.#read(d1Reading(sql, params), plain('SELECT 1'))).rows;
  }

  async head(): Promise<number> {
    const [rows] = await this.#readRows(plain(HEAD));
    return rows![0]!['head'] as number;
  }

  /**
   * Runs all operations in one transaction, if the source is still what the route says.
   * @throws NotPrimary, CrossfadeError OutcomeUnknown, SourceBusy, InvalidInput; D1StatementError
   */
  async write(
    operations: readonly Operation[],
    { sourceVersion }: Route,
  ): Promise<Done<WriteResult[]> & { written: WrittenOnD1 }> {
    const present = sourceVersion === null;
    const statements = operations.flatMap(({ sql, params }) => [d1Statement(sql, params), plain(CHANGES)]);
    const batch = [
      plain(present ? ADMISSION : ADMISSION_WITHOUT_CONTROL),
      ...statements,
      plain(present ? HEAD : 'SELECT 0 AS head'),
    ];
    let answers: Record<string, unknown>[][];
    try {
      answers = await this.#rows(...batch);
    } catch (error) {
      throw d1Error(error, true);
    }
    const admitted = answers[0]![0] as unknown as Admitted;
    const head = answers.at(-1)![0]!['head'] as number;
    let total = admitted.total;
    const result = operations.map((_, i): WriteResult => {
      const after = answers[2 + 2 * i]![0] as { changes: number; total: number };
      // changes() keeps what an earlier statement did where this one changes nothing.
      const changes = after.total === total ? 0 : after.changes;
      total = after.total;
      return { changes, rows: withBuffers(answers[1 + 2 * i]!) };
    });
    return {
      result,
      written: {
        position: head > admitted.head ? head : 0,
        migration: admitted.migration,
        dualWrites: admitted.dual_writes === 1,
        dualWriteTimeoutMs: admitted.dual_write_timeout_ms ?? 0,
      },
    };
  }

  /** As `openAgain` of `databases/sqlite/control.ts`, as one batch. Acknowledged by D1 means durable. */
  async openAgain(migration: string, epoch: number): Promise<boolean> {
    const suspended = `SELECT name, sql FROM ${SUSPENDED_TABLE} ORDER BY rowid`;
    const [triggers] = await this.#readRows(plain(suspended));
    try {
      await this.#rows(
        // Whoever else opens it, or lets the triggers return, does so before or after, not meanwhile.
        plain(
          `SELECT CASE WHEN (SELECT state = 'moved' AND epoch = ?1 - 1 AND migration = ?2 FROM ${CONTROL_TABLE} WHERE id = 1) IS NOT 1
             OR (SELECT count(*) FROM ${SUSPENDED_TABLE}) <> ?3 THEN ${REFUSE} END`,
          epoch,
          migration,
          triggers!.length,
        ),
        ...triggers!.flatMap(({ name, sql }) => [
          plain(`DROP TRIGGER IF EXISTS ${quoted(name as string)}`),
          plain(sql as string),
        ]),
        plain(`DELETE FROM ${SUSPENDED_TABLE}`),
        plain(`UPDATE ${LEASE_TABLE} SET epoch = CAST(?1 AS INTEGER), holder = ''`, epoch),
        plain(
          `UPDATE ${CONTROL_TABLE} SET state = 'open', epoch = CAST(?1 AS INTEGER), fence_token = NULL, deadline = NULL,
             read_percent = 0, dual_writes = 0 WHERE id = 1`,
          epoch,
        ),
      );
    } catch (error) {
      const mapped = d1Error(error, true) as object;
      if (!isFenceRefusal(mapped)) throw mapped;
    }
    const view = await this.view();
    return (
      view.control === 'present' &&
      view.row.migration === migration &&
      view.row.epoch === epoch &&
      view.row.state !== 'moved'
    );
  }

  /** @returns the rows, and the guard's row of the same snapshot */
  async #read(
    statement: Statement,
    guard: Statement,
  ): Promise<{ rows: Row[]; guarded: Record<string, unknown> | undefined }> {
    const [guarded, found] = await this.#readRows(guard, statement);
    const rows = withBuffers(found!);
    if (!rows.some(mayBeRounded)) return { rows, guarded: guarded![0] };
    // Reading twice is rare.
    try {
      const [again, , cells] = await this.#readRows(guard, ...exactly(statement, rows[0]!));
      return { rows: fromCells(cells!), guarded: again![0] };
    } catch (error) {
      if (!/table q has \d+ values for \d+ columns/.test(String(error))) throw error;
      throw new D1StatementError(
        'an integer beyond 2^53 among columns of which two have the same name: give each a name of its own, else D1 would round it',
        'SQLITE_MISMATCH',
        error,
      );
    }
  }

  /** As `#rows`, of statements that change nothing: sent again where D1 loses them, as D1 does with what it takes for a read. */
  async #readRows(...statements: Statement[]): Promise<Record<string, unknown>[][]> {
    for (const ms of READ_AGAIN_MS) {
      try {
        return await this.#rows(...statements);
      } catch (error) {
        if (!isLost(error)) throw error;
        await sleep(ms * (1 + Math.random()));
      }
    }
    return this.#rows(...statements);
  }

  /** One batch. @returns the rows of each statement */
  async #rows(...statements: Statement[]): Promise<Record<string, unknown>[][]> {
    const prepared = statements.map(({ text, values }) => {
      const statement = this.#db.prepare(text);
      return values.length === 0 ? statement : statement.bind(...values);
    });
    const results = (await this.#db.batch(prepared)) as D1Result[];
    return results.map(({ results: rows }) => rows as Record<string, unknown>[]);
  }
}
