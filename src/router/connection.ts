/** The application's way to its database while it moves: in place of the raw driver, before, during and after a migration. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Side } from '../contract.ts';
import type {
  Migration,
  Operation,
  Row,
  Sql,
  Transaction,
  Value,
  WriteResult,
} from '../databases/adapter.ts';
import { localD1Path } from '../databases/sqlite/local-d1.ts';
import { CrossfadeError, driverCode } from '../errors.ts';
import { acceptsWrites, isFenceRefusal, POSTGRES_SCHEMA } from '../protocol.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { inOrder } from './adapters/migrations.ts';
import type { BeforeCommit } from './adapters/postgres.ts';
import { Alerts, type Alert } from './alerts.ts';
import { OwnWrites } from './own-writes.ts';
import { keyName, Reads, type ReaderKey, type ReadOptions } from './reads.ts';
import { Reporter } from './reporter.ts';
import type { Route } from './route.ts';
import { ShadowReads, type ShadowStatistics } from './shadow.ts';
import { NotPrimary, Source, type Admission, type Written } from './source.ts';
import { Statistics, type OperationStatistics } from './statistics.ts';
import { Switchboard } from './switchboard.ts';
import { Target } from './target.ts';

export interface DatabaseConnectionOptions {
  /** The SQLite database: `sqlite:PATH`, a path, or `d1-local:PATH` for one that wrangler keeps. */
  source: string;
  /** The PostgreSQL database it may move to: `postgres://…`. Needed from the start of a migration. */
  target?: string;
  /** A pino logger; default: warnings to standard error. */
  logger?: Logger;
  onAlert?: (alert: Alert) => void;
  /** Share of reads, 0 to 1, that also run on the target to be compared, once it is a complete copy; default 0. */
  shadowReads?: number;
  /** How often the control rows are read; default 1000. */
  pollMs?: number;
  /** How long a write waits while no database accepts writes; default 30000. */
  fenceTimeoutMs?: number;
  /** How often statistics are reported into the target; default 1000. */
  reportMs?: number;
  /** Every integer as bigint, as better-sqlite3's option of that name; default false: only those beyond 2^53. */
  safeIntegers?: boolean;
  /** Name of this router in reports, unique among those that run; default host, process and a random part. */
  instance?: string;
  /** How long a read that was sent to the target by percentage may take before the source answers it; default 10000. */
  readTimeoutMs?: number;
  /** How long a write to SQLite waits for other writers, without blocking the process; default 5000. */
  busyTimeoutMs?: number;
  /** Durability of SQLite's commits: `full` survives power failures, `normal` is better-sqlite3's default. Default `full`. */
  synchronous?: 'full' | 'normal';
}

export interface WriteOptions {
  /** Whose write this is: reads with the same key see it, wherever they go. */
  key?: ReaderKey;
}

export interface RouterStatistics {
  primary: Side;
  readPercent: number;
  reads: Record<Side, OperationStatistics>;
  writes: Record<Side, OperationStatistics>;
  /** Writes that were refused by a fence and run again. */
  fenceRetries: number;
  /** Reads kept on the source because the target did not have their key's writes yet. */
  heldBack: number;
  shadow: ShadowStatistics;
  /** Connections of the application's pool to the target. */
  connections: { total: number; idle: number; waiting: number };
}

const STATE = `SELECT state FROM ${POSTGRES_SCHEMA}.router_state()`;

export class DatabaseConnection {
  readonly #source: Source;
  readonly #target: Target | undefined;
  readonly #alerts: Alerts;
  readonly #switchboard: Switchboard;
  readonly #statistics = new Statistics();
  readonly #ownWrites = new OwnWrites();
  readonly #acknowledgements: Acknowledgements | undefined;
  readonly #shadow: ShadowReads | undefined;
  readonly #reporter: Reporter | undefined;
  readonly #reads: Reads;
  readonly #fenceTimeoutMs: number;
  #fenceRetries = 0;
  #migration: string | undefined;
  #closing: Promise<void> | undefined;

  /** Connects to nothing yet. @throws CrossfadeError BadConnection, InvalidInput */
  constructor(options: DatabaseConnectionOptions) {
    const shadowReads = options.shadowReads ?? 0;
    if (!(shadowReads >= 0 && shadowReads <= 1)) {
      throw new CrossfadeError('InvalidInput', `shadowReads is ${shadowReads}: give a share from 0 to 1`);
    }
    const { safeIntegers = false, busyTimeoutMs, synchronous, readTimeoutMs = 10_000 } = options;
    this.#fenceTimeoutMs = options.fenceTimeoutMs ?? 30_000;
    this.#alerts = new Alerts(options.logger, options.onAlert);
    this.#source = new Source(sourcePath(options.source), {
      safeIntegers,
      ...(busyTimeoutMs === undefined ? {} : { busyTimeoutMs }),
      ...(synchronous === undefined ? {} : { synchronous }),
    });
    if (options.target !== undefined) {
      const target = new Target(options.target, { safeIntegers }, (before) =>
        this.#targetSeen(target, before),
      );
      const instance = options.instance ?? `${hostname()}:${process.pid}:${randomBytes(3).toString('hex')}`;
      this.#target = target;
      this.#acknowledgements = new Acknowledgements(target, (writes, waited) =>
        this.#notAcknowledged(writes, waited),
      );
      this.#shadow = new ShadowReads(this.#source, target, this.#alerts, readTimeoutMs);
      this.#reporter = new Reporter(
        target,
        this.#statistics,
        this.#alerts,
        instance,
        options.reportMs ?? 1_000,
      );
    }
    this.#switchboard = new Switchboard(this.#source, this.#target, this.#alerts, {
      pollMs: options.pollMs ?? 1_000,
      fenceTimeoutMs: this.#fenceTimeoutMs,
      onRoute: (route) => this.#routed(route),
    });
    this.#reads = new Reads({
      source: this.#source,
      target: this.#target,
      switchboard: this.#switchboard,
      statistics: this.#statistics,
      ownWrites: this.#ownWrites,
      shadow: this.#shadow,
      alerts: this.#alerts,
      shadowReads,
      readTimeoutMs,
      fenceTimeoutMs: this.#fenceTimeoutMs,
    });
  }

  /**
   * Runs a statement that only reads, on the primary or by percentage on the target. With `key` the same side answers
   * at the same percentage, and the key's own writes are seen; without, all writes of this connection are. `primary`
   * keeps it on the primary, for what is read in order to be changed.
   * @throws CrossfadeError TargetUnreachable, Fenced; the driver's errors
   */
  async query<T = Row>(sql: Sql, params: readonly Value[] = [], options: ReadOptions = {}): Promise<T[]> {
    this.#assertOpen();
    return this.#reads.query<T>(sql, params, options);
  }

  /**
   * Runs one statement on the primary. While a switch is under way it waits; it is sent again only where it was
   * certainly not applied.
   * @throws CrossfadeError Fenced, OutcomeUnknown, TargetUnreachable, SourceBusy; the driver's errors
   */
  write<T = Row>(
    sql: Sql,
    params: readonly Value[] = [],
    options: WriteOptions = {},
  ): Promise<WriteResult<T>> {
    return this.#onPrimary(
      keyName(options.key),
      (admission) => this.#source.adapter.write<T>(sql, params, admission),
      (target) => target.adapter.write<T>(sql, params),
    );
  }

  /**
   * Runs the callback in a transaction on the primary, and runs it *again from its beginning* where a switch came in
   * between: whatever it does outside of the database must bear repetition. A statement that fails dooms the
   * transaction, even if the callback catches the error.
   * @throws as `write`; what the callback throws, after rolling back
   */
  transaction<T>(callback: (tx: Transaction) => Promise<T>, options: WriteOptions = {}): Promise<T> {
    return this.#onPrimary(
      keyName(options.key),
      (admission) => this.#source.adapter.transaction(callback, admission),
      (target, route) => target.adapter.transaction(callback, route.mayMoveBack ? stillPrimary : undefined),
    );
  }

  /** Runs all operations in one transaction on the primary. @throws as `write` */
  batch(operations: readonly Operation[], options: WriteOptions = {}): Promise<WriteResult[]> {
    return this.#onPrimary(
      keyName(options.key),
      (admission) => this.#source.adapter.batch(operations, admission),
      (target) => target.adapter.batch(operations),
    );
  }

  /** Applies or reverts schema migrations on the primary, see `DatabaseAdapter.migrate`. Not while its data moves. */
  async migrate(migrations: readonly Migration[], direction: 'up' | 'down' = 'up'): Promise<string[]> {
    const done: string[] = [];
    // One at a time: each changes the schema, upon which the source's next write looks at both databases again.
    for (const migration of inOrder(migrations, direction)) {
      const ids = await this.#onPrimary(
        undefined,
        (admission) => this.#source.adapter.migrate([migration], direction, admission),
        (target) => target.adapter.migrate([migration], direction),
      );
      done.push(...ids);
    }
    return done;
  }

  /** The database that takes the writes, as far as this connection has seen. */
  primary(): Side {
    return this.#switchboard.route?.primary ?? 'source';
  }

  stats(): RouterStatistics {
    const { route } = this.#switchboard;
    return {
      primary: this.primary(),
      readPercent: route?.readPercent ?? 0,
      ...this.#statistics.totals(),
      fenceRetries: this.#fenceRetries,
      heldBack: this.#reads.heldBack,
      shadow: { ...(this.#shadow?.statistics ?? { compared: 0, mismatches: 0, errors: 0, undecided: 0 }) },
      connections: this.#target?.connections() ?? { total: 0, idle: 0, waiting: 0 },
    };
  }

  /** Waits for what is running, reports the last statistics and closes every connection and timer. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#switchboard.close();
    await this.#shadow?.close();
    this.#acknowledgements?.release();
    await this.#source.adapter.close();
    await this.#target?.adapter.close();
    await this.#reporter?.close();
    await this.#target?.close();
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) {
      throw new CrossfadeError('BadConnection', 'this DatabaseConnection was closed by close()');
    }
  }

  async #onPrimary<T>(
    key: string | undefined,
    onSource: (admission: Admission) => Promise<T>,
    onTarget: (target: Target, route: Route) => Promise<T>,
  ): Promise<T> {
    const started = performance.now();
    for (let waited = false; ; waited = true) {
      this.#assertOpen();
      const route = this.#switchboard.route ?? (await this.#switchboard.ready());
      if (route.accepts) {
        try {
          let result: T;
          if (route.primary === 'source') {
            const admission = this.#source.admission(route.sourceVersion);
            result = await onSource(admission);
            if (admission.position > 0) await this.#acknowledge(admission, key);
          } else result = await onTarget(this.#targetOrRefuse(), route);
          this.#statistics.done(route.primary, 'write', performance.now() - started);
          return result;
        } catch (error) {
          if (!(await this.#mayRunAgain(error, route.primary, waited))) {
            this.#failed(error, route.primary, performance.now() - started);
            throw error;
          }
        }
      } else if (route.primary === 'target') this.#targetOrRefuse();
      this.#fenceRetries += 1;
      await this.#settle(started, route.primary);
    }
  }

  async #settle(started: number, side: Side): Promise<void> {
    try {
      await this.#switchboard.settle(started + this.#fenceTimeoutMs);
    } catch (error) {
      this.#statistics.failed(side, 'write');
      throw error;
    }
  }

  /** True where the write was certainly not applied and another database may take it. */
  async #mayRunAgain(error: unknown, side: Side, waited: boolean): Promise<boolean> {
    if (typeof error !== 'object' || error === null) return false;
    if (isFenceRefusal(error)) return true;
    if (side === 'source' || this.#target === undefined) return false;
    // All who waited for the switch come at once: nothing was sent where the pool had no connection left for them.
    if (waited && driverCode(error) === 'TargetUnreachable') return true;
    if (driverCode(error) !== '40001') return false;
    // Above READ COMMITTED a fence shows as a serialization failure, raised in its trigger even if it has been lifted
    // since; any other is the application's.
    if ((error as { where?: string }).where?.includes('fence()') === true) return true;
    const view = await this.#target.lookAnew();
    return view.control === 'present' && !acceptsWrites(view.row);
  }

  #failed(error: unknown, side: Side, ms: number): void {
    if (driverCode(error) === 'OutcomeUnknown') {
      this.#alerts.raise('outcome_unknown', (error as CrossfadeError).message);
    }
    // Every error of ours and of the drivers has a code.
    const ours = driverCode(error) !== '';
    // A callback that throws by itself has been served well.
    if (ours) this.#statistics.failed(side, 'write');
    else this.#statistics.done(side, 'write', ms);
  }

  #targetOrRefuse(): Target {
    if (this.#target !== undefined) return this.#target;
    throw new CrossfadeError(
      'Fenced',
      'the source has moved to a target that this DatabaseConnection does not know: give it as `target`',
    );
  }

  /** Before the application hears of a write: both databases have it, or its readers stay on the source. */
  async #acknowledge(written: Written, key: string | undefined): Promise<void> {
    if (this.#acknowledgements === undefined) return;
    if (written.dualWrites) {
      if (await this.#acknowledgements.wait(written.position, written.dualWriteTimeoutMs)) return;
    }
    this.#ownWrites.note(key, written.position);
  }

  #notAcknowledged(writes: number, waited: boolean): void {
    this.#statistics.dualWriteFailures(writes);
    // One alert per lateness; the writes that follow are counted.
    if (!waited) return;
    this.#alerts.raise(
      'dual_write_failure',
      `${writes} write${writes === 1 ? ' was' : 's were'} acknowledged before the target had ${writes === 1 ? 'it' : 'them'}: ` +
        'replay is behind, the source has everything',
    );
  }

  #routed(route: Route): void {
    const { waiting = 0 } = this.#acknowledgements ?? {};
    // The route may be older than the writes that wait: only the row itself tells that dual writes have ended.
    if (waiting > 0 && route.primary === 'source' && !route.dualWrites && !this.#source.dualWrites()) {
      this.#acknowledgements?.release();
    }
  }

  #targetSeen(target: Target, before: Target['view']): void {
    const { view } = target;
    if (view.control === 'present') {
      if (this.#migration !== view.row.migration) this.#ownWrites.clear();
      this.#migration = view.row.migration;
      this.#ownWrites.passed(view.row.position);
    }
    if (view.control === 'unreachable' && before.control === 'present') {
      this.#alerts.raise('target_unreachable', `target ${target.where} does not answer any more`);
    }
  }
}

/** A transaction that only read is checked at its end: what it read was read on the primary. */
const stillPrimary: BeforeCommit = async (run) => {
  const [row] = await run(STATE);
  if (row?.['state'] !== 'open' && row?.['state'] !== 'fencing') throw new NotPrimary('target');
};

function sourcePath(source: string): string {
  if (source.startsWith('d1-local:')) return localD1Path(source.slice('d1-local:'.length), 'option source');
  const path = source.startsWith('sqlite:') ? source.slice('sqlite:'.length) : source;
  return path.startsWith('///') ? path.slice(2) : path;
}
