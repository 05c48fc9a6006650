/** The target as the router uses it: the application's pool, and one connection of the router's own for control. */
import type pg from 'pg';
import { describeTarget } from '../databases/postgres/connection.ts';
import { driverCode } from '../errors.ts';
import { POSTGRES_SCHEMA, type ControlState } from '../protocol.ts';
import { createPool, PostgresAdapter } from './adapters/postgres.ts';
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

export class Target {
  readonly adapter: PostgresAdapter;
  readonly where: string;
  /** What was seen last. */
  view: TargetView = { control: 'absent' };
  /** How far replay had come when it was seen last; it never goes back within a migration. */
  position = 0;
  /** When `view` was read, performance.now(). */
  seenAt = Number.NEGATIVE_INFINITY;
  readonly #control: pg.Pool;
  #installed = false;
  #looking: Promise<TargetView> | undefined;
  readonly #onLook: (before: TargetView) => void;

  /** @param onLook called after every look with the view before it, and before anybody who waits for the new one */
  constructor(url: string, options: { safeIntegers: boolean }, onLook: (before: TargetView) => void) {
    this.where = describeTarget(url);
    this.adapter = new PostgresAdapter(url, options);
    // A pool of one, so that the application's load can delay neither a switch nor a report.
    this.#control = createPool(url, {
      max: 1,
      applicationName: 'crossfade-router-control',
      queryTimeoutMs: CONTROL_TIMEOUT_MS,
    });
    this.#onLook = onLook;
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
      view = { control: 'unreachable', error };
    }
    this.#see(view);
    return view;
  }

  #see(view: TargetView): void {
    const before = this.view;
    this.view = view;
    this.seenAt = performance.now();
    if (view.control === 'present') this.position = view.row.position;
    this.#onLook(before);
  }

  async #read(): Promise<TargetView> {
    if (!this.#installed) {
      const { rows } = await this.#control.query<{ installed: number }>(INSTALLED);
      if (rows[0]?.installed !== 1) return { control: 'absent' };
      this.#installed = true;
    }
    try {
      const { rows } = await this.#control.query<StateRow>(STATE);
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
    await this.#control.query(`SELECT ${POSTGRES_SCHEMA}.open_target($1, $2)`, [String(epoch), token]);
  }

  /** Adds the windows to what the gates read. @throws the driver's errors */
  async report(instance: string, windows: unknown[]): Promise<void> {
    await this.#control.query(`SELECT ${POSTGRES_SCHEMA}.report_traffic($1, $2::jsonb)`, [
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
    await this.#control.end();
  }
}
