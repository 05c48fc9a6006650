/** The target as the router uses it: the application's pool, and one connection of the router's own for control. */
import type pg from 'pg';
import { driverCode } from '../errors.ts';
import { POSTGRES_SCHEMA, type ControlState } from '../protocol.ts';
import type { PostgresAdapter } from './adapters/postgres.ts';
import type { TargetView } from './route.ts';

const CONTROL_TIMEOUT_MS = 5_000;

const STATE = `SELECT migration, epoch, state, fence_left_ms, "position", finished FROM ${POSTGRES_SCHEMA}.router_state()`;
const INSTALLED = `SELECT to_regprocedure('${POSTGRES_SCHEMA}.router_state()') IS NOT NULL AS installed`;

/** No such schema, no such function: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const NOT_INSTALLED = ['3F000', '42883'];

interface StateRow {
  migration: string | null;
  epoch: number;
  state: ControlState;
  fence_left_ms: number | null;
  position: number;
  finished: number;
}

/** What was seen last of a target. */
export class Seen {
  view: TargetView = { control: 'absent' };
  /** How far replay had come; it never goes back within a migration. */
  position = 0;
  /** When `view` was read, performance.now(). */
  seenAt = Number.NEGATIVE_INFINITY;
}

export class Target {
  readonly adapter: PostgresAdapter;
  readonly where: string;
  readonly #seen: Seen;
  readonly #control: pg.Pool;
  #installed = false;
  #looking: Promise<TargetView> | undefined;
  readonly #onLook: (before: TargetView) => void;

  /**
   * @param control connections for control; its integers arrive as numbers
   * @param onLook called after every look with the view before it, and before anybody who waits for the new one
   * @param seen shared by those that look at the same target
   */
  constructor(
    adapter: PostgresAdapter,
    control: pg.Pool,
    onLook: (before: TargetView) => void,
    seen: Seen = new Seen(),
  ) {
    this.#seen = seen;
    this.where = adapter.where;
    this.adapter = adapter;
    this.#control = control;
    this.#onLook = onLook;
  }

  /** What was seen last. */
  get view(): TargetView {
    return this.#seen.view;
  }

  /** How far replay had come when it was seen last. */
  get position(): number {
    return this.#seen.position;
  }

  /** When it was seen last, performance.now(). */
  get seenAt(): number {
    return this.#seen.seenAt;
  }

  get reachable(): boolean {
    return this.view.control !== 'unreachable';
  }

  /** Reads the control row and the position; calls at the same time share one query. Never rejects. */
  look(): Promise<TargetView> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** As `look`, but read after this call: for what must not have changed since. */
  async lookAnew(): Promise<TargetView> {
    await this.#looking;
    return this.look();
  }

  async #look(): Promise<TargetView> {
    let view: TargetView;
    try {
      view = await this.#read();
    } catch (error) {
      // A look that close() came before says nothing of the target.
      if (this.#control.ending) return this.view;
      view = { control: 'unreachable', error };
    }
    this.#see(view);
    return view;
  }

  #see(view: TargetView): void {
    const before = this.view;
    const seen = this.#seen;
    seen.view = view;
    seen.seenAt = performance.now();
    if (view.control === 'present') seen.position = view.row.position;
    this.#onLook(before);
  }

  async #read(): Promise<TargetView> {
    if (!this.#installed) {
      const { rows } = await this.#run<{ installed: number }>(INSTALLED);
      if (rows[0]?.installed !== 1) return { control: 'absent' };
      this.#installed = true;
    }
    try {
      const { rows } = await this.#run<StateRow>(STATE);
      const row = rows[0];
      // The function gives NULLs where the control row or the checkpoint is missing.
      if (row === undefined || row.migration === null) return { control: 'absent' };
      return {
        control: 'present',
        row: {
          migration: row.migration,
          epoch: row.epoch,
          state: row.state,
          fenceToken: null,
          fenceLeftMs: row.fence_left_ms,
          position: row.position,
          finished: row.finished === 1,
        },
      };
    } catch (error) {
      if (!NOT_INSTALLED.includes(driverCode(error))) throw error;
      this.#installed = false;
      return { control: 'absent' };
    }
  }

  /** Opens the target after the source's row became moved; whoever is first does it. */
  async open(epoch: number, token: string): Promise<void> {
    await this.#run(`SELECT ${POSTGRES_SCHEMA}.open_target($1, $2)`, [String(epoch), token]);
  }

  /** Adds the windows to what the gates read. @throws the driver's errors */
  async report(instance: string, windows: unknown[]): Promise<void> {
    await this.#run(`SELECT ${POSTGRES_SCHEMA}.report_traffic($1, $2::jsonb)`, [
      instance,
      JSON.stringify(windows),
    ]);
  }

  /** The application's connections. */
  connections(): { total: number; idle: number; waiting: number } {
    const { totalCount, idleCount, waitingCount } = this.adapter.pool;
    return { total: totalCount, idle: idleCount, waiting: waitingCount };
  }

  async close(): Promise<void> {
    await this.adapter.close();
    if (this.#control !== this.adapter.pool) await this.#control.end();
  }

  #run<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<pg.QueryResult<R>> {
    return this.#control.query<R>({ text, values, query_timeout: CONTROL_TIMEOUT_MS } as pg.QueryConfig);
  }
}
