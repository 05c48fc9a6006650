/** The application's way to its database while it moves: in place of the raw driver, before, during and after a migration. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import pino, { type Logger } from 'pino';
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
import { CrossfadeError } from '../errors.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { inOrder } from './adapters/migrations.ts';
import { createPool, PostgresAdapter, stillPrimary } from './adapters/postgres.ts';
import { Alerts, type Alert } from './alerts.ts';
import { OwnWrites } from './own-writes.ts';
import { keyName, Reads, type ReaderKey, type ReadOptions } from './reads.ts';
import { Reporter } from './reporter.ts';
import type { Route } from './route.ts';
import { ShadowReads, type ShadowStatistics } from './shadow.ts';
import { Source, type Admission } from './source.ts';
import { Statistics, type RoutingStatistics } from './statistics.ts';
import { Switchboard } from './switchboard.ts';
import { Target } from './target.ts';
import { Writes, type WriteOptions } from './writes.ts';

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

const FENCE_POLL_MS = 10;
const READ_RETRY_MS = 10;

export interface RouterStatistics extends RoutingStatistics {
  shadow: ShadowStatistics;
  /** Connections of the application's pool to the target. */
  connections: { total: number; idle: number; waiting: number };
}

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
  readonly #writes: Writes;
  #closing: Promise<void> | undefined;

  /** Connects to nothing yet. @throws CrossfadeError BadConnection, InvalidInput */
  constructor(options: DatabaseConnectionOptions) {
    const shadowReads = options.shadowReads ?? 0;
    if (!(shadowReads >= 0 && shadowReads <= 1)) {
      throw new CrossfadeError('InvalidInput', `shadowReads is ${shadowReads}: give a share from 0 to 1`);
    }
    const { safeIntegers = false, busyTimeoutMs, synchronous, readTimeoutMs = 10_000 } = options;
    const fenceTimeoutMs = options.fenceTimeoutMs ?? 30_000;
    this.#alerts = new Alerts(options.logger ?? toStandardError(), options.onAlert);
    this.#source = new Source(sourcePath(options.source), {
      safeIntegers,
      ...(busyTimeoutMs === undefined ? {} : { busyTimeoutMs }),
      ...(synchronous === undefined ? {} : { synchronous }),
    });
    if (options.target !== undefined) {
      // A pool of one for control, so that the application's load can delay neither a switch nor a report.
      const control = createPool(options.target, { max: 1, applicationName: 'crossfade-router-control' });
      const adapter = new PostgresAdapter(options.target, { safeIntegers });
      const target = new Target(adapter, control, (before) => this.#targetSeen(target, before));
      const instance = options.instance ?? `${hostname()}:${process.pid}:${randomBytes(3).toString('hex')}`;
      this.#target = target;
      this.#acknowledgements = new Acknowledgements(target, (writes, waited) =>
        this.#notAcknowledged(writes, waited),
      );
      this.#shadow = new ShadowReads(this.#source, target, this.#alerts, readTimeoutMs);
      this.#reporter = new Reporter(target, this.#statistics, this.#alerts, instance);
      this.#reporter.every(options.reportMs ?? 1_000);
    }
    this.#switchboard = new Switchboard(this.#source, this.#target, this.#alerts, {
      pollMs: options.pollMs ?? 1_000,
      fenceTimeoutMs,
      fencePollMs: FENCE_POLL_MS,
      onRoute: (route) => this.#routed(route),
    });
    const shared = {
      target: this.#target,
      switchboard: this.#switchboard,
      statistics: this.#statistics,
      ownWrites: this.#ownWrites,
      alerts: this.#alerts,
      fenceTimeoutMs,
      route: () => this.#switchboard.route ?? this.#switchboard.ready(),
    };
    this.#reads = new Reads({
      ...shared,
      source: this.#source,
      shadow: this.#shadow,
      shadowReads,
      readTimeoutMs,
      retryMs: READ_RETRY_MS,
      sharedRoute: false,
    });
    this.#writes = new Writes({
      ...shared,
      acknowledgements: this.#acknowledgements,
      assertOpen: () => this.#assertOpen(),
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
      options.key,
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
      options.key,
      (admission) => this.#source.adapter.transaction(callback, admission),
      (target, route) => target.adapter.transaction(callback, route.mayMoveBack ? stillPrimary : undefined),
    );
  }

  /** Runs all operations in one transaction on the primary. @throws as `write` */
  batch(operations: readonly Operation[], options: WriteOptions = {}): Promise<WriteResult[]> {
    return this.#onPrimary(
      options.key,
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
      fenceRetries: this.#writes.fenceRetries,
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

  #onPrimary<T>(
    key: ReaderKey | undefined,
    onSource: (admission: Admission) => Promise<T>,
    onTarget: (target: Target, route: Route) => Promise<T>,
  ): Promise<T> {
    return this.#writes.onPrimary(
      keyName(key),
      async ({ sourceVersion }) => {
        const written = this.#source.admission(sourceVersion);
        return { result: await onSource(written), written };
      },
      onTarget,
    );
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
      this.#ownWrites.follow(view.row.migration, view.row.position);
    }
    if (view.control === 'unreachable' && before.control === 'present') {
      this.#alerts.raise('target_unreachable', `target ${target.where} does not answer any more`);
    }
  }
}

/** Standard output belongs to the application. */
function toStandardError(): Logger {
  return pino({ name: 'crossfade', level: 'warn' }, pino.destination({ dest: 2, sync: true }));
}

function sourcePath(source: string): string {
  if (source.startsWith('d1-local:')) return localD1Path(source.slice('d1-local:'.length), 'option source');
  const path = source.startsWith('sqlite:') ? source.slice('sqlite:'.length) : source;
  return path.startsWith('///') ? path.slice(2) : path;
}
