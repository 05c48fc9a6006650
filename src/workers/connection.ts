/**
 * The router in a Worker: D1 through its binding, PostgreSQL through Hyperdrive or TCP. One object per request, because
 * Workers tie a socket to the request that opened it; what is known of the databases is shared by all requests of the isolate.
 */
import type { Side } from '../contract.ts';
import type { Operation, Row, Sql, Transaction, Value, WriteResult } from '../databases/adapter.ts';
import { CrossfadeError } from '../errors.ts';
import { Acknowledgements } from '../router/acknowledgements.ts';
import { PostgresAdapter, stillPrimary } from '../router/adapters/postgres.ts';
import { Alerts, type Alert, type Log } from '../router/alerts.ts';
import { keyName, Reads, type ReadOptions } from '../router/reads.ts';
import { Reporter } from '../router/reporter.ts';
import type { Route } from '../router/route.ts';
import { ShadowReads } from '../router/shadow.ts';
import type { RoutingStatistics } from '../router/statistics.ts';
import { Switchboard } from '../router/switchboard.ts';
import { Target } from '../router/target.ts';
import { Writes, type WriteOptions } from '../router/writes.ts';
import { consoleLog } from './console-log.ts';
import type { D1Database, WorkerContext } from './d1.ts';
import { isolateOf, type Isolate } from './isolate.ts';
import { Session } from './session.ts';
import { assertSettings } from './settings.ts';
import { D1Source } from './source.ts';

export interface DatabaseConnectionOptions {
  /** The D1 binding, `env.DB`. */
  source: D1Database;
  /** The PostgreSQL database it may move to: `env.HYPERDRIVE.connectionString`, or `postgres://…`. */
  target?: string;
  /** The request's context. */
  ctx: WorkerContext;
  /** What `session()` gave in an earlier request of this user: reads see that request's writes. */
  session?: string | null;
  /** Where log lines go; default: warnings to the console. */
  logger?: Log;
  onAlert?: (alert: Alert) => void;
  /** Share of reads, 0 to 1, that also run on the target to be compared, once it is a complete copy; default 0. */
  shadowReads?: number;
  /** How long an isolate goes by what it has seen of the control rows; default 1000. */
  cacheMs?: number;
  /** How long a write waits while no database accepts writes; default 30000. */
  fenceTimeoutMs?: number;
  /** How often the databases are looked at meanwhile; default 100: each look is a query of D1, of which a request has 1000 (50 without a paid plan). */
  fencePollMs?: number;
  /** How often statistics are reported into the target, by the requests that come; default 1000. */
  reportMs?: number;
  /** How long a read that was sent to the target by percentage may take before the source answers it; default 10000. */
  readTimeoutMs?: number;
  /** Connections to the target at most; default 5: a request has 6 connections. */
  maxConnections?: number;
}

/** Of all requests of the isolate; `fenceRetries` and `heldBack` of this one alone. */
export type RouterStatistics = RoutingStatistics;

/** How long a route counts that nothing but the end of a migration can change, or that D1 itself proves with each statement. */
const STEADY_MS = 30_000;

export class DatabaseConnection {
  readonly #isolate: Isolate;
  readonly #source: D1Source;
  readonly #target: Target | undefined;
  readonly #alerts: Alerts;
  readonly #switchboard: Switchboard;
  readonly #session: Session;
  readonly #shadow: ShadowReads | undefined;
  readonly #reporter: Reporter | undefined;
  readonly #reads: Reads;
  readonly #writes: Writes;
  readonly #ctx: WorkerContext;
  /** What goes on after the response; never rejects. */
  readonly #background = new Set<Promise<unknown>>();
  readonly #cacheMs: number;
  readonly #reportMs: number;
  #closed = false;

  /** Connects to nothing yet. @throws CrossfadeError BadConnection, InvalidInput */
  constructor(options: DatabaseConnectionOptions) {
    const { shadowReads = 0, readTimeoutMs = 10_000, fenceTimeoutMs = 30_000, fencePollMs = 100 } = options;
    if (!(shadowReads >= 0 && shadowReads <= 1)) {
      throw new CrossfadeError('InvalidInput', `shadowReads is ${shadowReads}: give a share from 0 to 1`);
    }
    this.#ctx = options.ctx;
    this.#cacheMs = options.cacheMs ?? 1_000;
    this.#reportMs = options.reportMs ?? 1_000;
    this.#source = new D1Source(options.source);
    const isolate = isolateOf(options.source);
    this.#isolate = isolate;
    this.#alerts = new Alerts(options.logger ?? consoleLog, options.onAlert);
    this.#session = new Session(isolate.ownWrites, () => migrationOf(isolate), options.session);
    let acknowledgements: Acknowledgements | undefined;
    if (options.target !== undefined) {
      const adapter = new PostgresAdapter(options.target, {
        max: options.maxConnections ?? 5,
        // A timer would not outlive the request, and neither do the connections.
        idleTimeoutMs: 0,
        onConnect: async (client) => {
          if (isolate.settingsKept) return;
          await assertSettings(client);
          isolate.settingsKept = true;
        },
      });
      const target = new Target(
        adapter,
        adapter.pool,
        (before) => this.#targetSeen(target, acknowledgements, before),
        isolate.seen,
      );
      this.#target = target;
      acknowledgements = new Acknowledgements(
        target,
        (writes, waited) => this.#notAcknowledged(writes, waited),
        isolate.lateness,
      );
      this.#shadow = new ShadowReads(this.#source, target, this.#alerts, readTimeoutMs);
      this.#reporter = new Reporter(
        target,
        isolate.statistics,
        this.#alerts,
        isolate.instance,
        isolate.unreported,
      );
    }
    this.#switchboard = new Switchboard(this.#source, this.#target, this.#alerts, {
      pollMs: null,
      fenceTimeoutMs,
      fencePollMs,
      onRoute: (route) => {
        isolate.route = route;
        isolate.routeAt = performance.now();
      },
    });
    const shared = {
      target: this.#target,
      switchboard: this.#switchboard,
      statistics: isolate.statistics,
      ownWrites: this.#session,
      alerts: this.#alerts,
      fenceTimeoutMs,
      route: () => this.#route(),
    };
    this.#reads = new Reads({
      ...shared,
      source: this.#source,
      shadow: this.#shadow,
      shadowReads,
      readTimeoutMs,
      retryMs: fencePollMs,
      sharedRoute: true,
    });
    this.#writes = new Writes({ ...shared, acknowledgements, assertOpen: () => this.#assertOpen() });
  }

  /**
   * Runs a statement that only reads, on the primary or by percentage on the target, where it sees the writes of its key,
   * of this isolate and of the session. `primary` keeps it on the primary, for what is read in order to be changed.
   * @throws CrossfadeError TargetUnreachable, Fenced; the driver's errors
   */
  query<T = Row>(sql: Sql, params: readonly Value[] = [], options: ReadOptions = {}): Promise<T[]> {
    return this.#reporting(async () => {
      this.#assertOpen();
      return this.#reads.query<T>(sql, params, options);
    });
  }

  /**
   * Runs one statement on the primary. While a switch is under way it waits; it is sent again only where it was
   * certainly not applied.
   * @throws CrossfadeError Fenced, OutcomeUnknown, TargetUnreachable, SourceBusy; the driver's errors
   */
  async write<T = Row>(
    sql: Sql,
    params: readonly Value[] = [],
    options: WriteOptions = {},
  ): Promise<WriteResult<T>> {
    const [result] = await this.#onPrimary<WriteResult[]>(options, [{ sql, params }], async (target) => [
      await target.adapter.write(sql, params),
    ]);
    return result as WriteResult<T>;
  }

  /** Runs all operations in one transaction on the primary; of D1, in one batch. @throws as `write` */
  batch(operations: readonly Operation[], options: WriteOptions = {}): Promise<WriteResult[]> {
    return this.#onPrimary(options, operations, (target) => target.adapter.batch(operations));
  }

  /**
   * Runs the callback in a transaction on PostgreSQL, and runs it again from its beginning where a switch came in between.
   * @throws CrossfadeError InvalidInput while D1 is the primary, which has no such transactions; as `write`; what the callback throws
   */
  transaction<T>(callback: (tx: Transaction) => Promise<T>, options: WriteOptions = {}): Promise<T> {
    return this.#reporting(() =>
      this.#writes.onPrimary<T>(
        keyName(options.key),
        () => {
          throw new CrossfadeError(
            'InvalidInput',
            'transaction() needs a database that waits for the application between two statements, which D1 does not: ' +
              'use batch() while D1 is the primary',
          );
        },
        (target, route) => target.adapter.transaction(callback, route.mayMoveBack ? stillPrimary : undefined),
      ),
    );
  }

  /**
   * What to give as `session` to this user's next requests, in any isolate, so that they see this request's writes;
   * undefined where every database has them. Letters, digits and %.-_~!*'() only: fit for a cookie.
   */
  session(): string | undefined {
    return this.#session.text(this.#target);
  }

  /** The database that takes the writes, as far as this isolate has seen. */
  primary(): Side {
    return this.#isolate.route?.primary ?? 'source';
  }

  stats(): RouterStatistics {
    return {
      primary: this.primary(),
      readPercent: this.#isolate.route?.readPercent ?? 0,
      ...this.#isolate.statistics.totals(),
      fenceRetries: this.#writes.fenceRetries,
      heldBack: this.#reads.heldBack,
    };
  }

  /** Waits for comparisons and ends the connections, which otherwise end with the request: `ctx.waitUntil(db.close())` after the last statement. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#switchboard.close();
    await this.#shadow?.idle();
    await Promise.all(this.#background);
    await this.#target?.close();
  }

  #assertOpen(): void {
    if (this.#closed) {
      throw new CrossfadeError('BadConnection', 'this DatabaseConnection was closed by close()');
    }
  }

  #onPrimary<T extends WriteResult[]>(
    options: WriteOptions,
    operations: readonly Operation[],
    onTarget: (target: Target) => Promise<WriteResult[]>,
  ): Promise<T> {
    return this.#reporting(() =>
      this.#writes.onPrimary<T>(
        keyName(options.key),
        async (route) => {
          const { result, written } = await this.#source.write(operations, route);
          this.#session.writesTo(written.migration);
          return { result: result as T, written };
        },
        (target) => onTarget(target) as Promise<T>,
      ),
    );
  }

  /** What the isolate knows, or a look where that is too old. */
  #route(): Route | Promise<Route> {
    const { route, routeAt } = this.#isolate;
    if (route === undefined || performance.now() - routeAt > this.#lifetime(route)) return this.#look();
    this.#switchboard.route = route;
    return route;
  }

  #lifetime(route: Route): number {
    const steady = route.sourceVersion !== null || (route.primary === 'target' && !route.mayMoveBack);
    return steady ? Math.max(this.#cacheMs, STEADY_MS) : this.#cacheMs;
  }

  async #look(): Promise<Route> {
    const target = this.#target;
    // Before anything is known of the target: a source that was put back to a time before its cutover must not be served.
    if (target === undefined || target.seenAt === Number.NEGATIVE_INFINITY)
      return this.#switchboard.refresh();
    const route = await this.#switchboard.glance();
    const isolate = this.#isolate;
    if (performance.now() - Math.max(target.seenAt, isolate.lookedAt) > this.#cacheMs) {
      isolate.lookedAt = performance.now();
      // The route rests on the source alone here: a target that does not answer must not hold up the request.
      this.#inBackground(target.look());
    }
    return route;
  }

  /** After an operation what is due is reported, by the request that happens to be here. */
  async #reporting<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      if (performance.now() - this.#isolate.unreported.begunAt > this.#reportMs && !this.#closed) {
        if (this.#reporter !== undefined) this.#inBackground(this.#reporter.flush());
      }
    }
  }

  #inBackground(work: Promise<unknown>): void {
    this.#background.add(work);
    this.#ctx.waitUntil(work);
  }

  #notAcknowledged(writes: number, waited: boolean): void {
    this.#isolate.statistics.dualWriteFailures(writes);
    // Later writes do not wait until replay has passed: somebody has to look.
    if (!waited) {
      if (this.#target !== undefined) this.#inBackground(this.#target.look());
    } else {
      this.#alerts.raise(
        'dual_write_failure',
        `${writes} write${writes === 1 ? ' was' : 's were'} acknowledged before the target had ${writes === 1 ? 'it' : 'them'}: ` +
          'replay is behind, the source has everything',
      );
    }
  }

  #targetSeen(target: Target, acknowledgements: Acknowledgements | undefined, before: Target['view']): void {
    const { view } = target;
    if (view.control === 'present') {
      this.#isolate.ownWrites.follow(view.row.migration, view.row.position);
      acknowledgements?.passed(view.row.position);
    }
    if (view.control === 'unreachable' && before.control === 'present') {
      this.#alerts.raise('target_unreachable', `target ${target.where} does not answer any more`);
    }
  }
}

function migrationOf({ seen: { view } }: Isolate): string | undefined {
  return view.control === 'present' ? view.row.migration : undefined;
}
