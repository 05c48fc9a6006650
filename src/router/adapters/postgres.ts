/** PostgreSQL behind the adapter's interface: a pool with the strategy's limits, certificates verified. */
import pg from 'pg';
import type {
  Capabilities,
  DatabaseAdapter,
  Migration,
  Operation,
  Row,
  Sql,
  Transaction,
  Value,
  WriteResult,
} from '../../databases/adapter.ts';
import type { HeldMoments } from '../../databases/moment.ts';
import { readHeldMoments } from '../../databases/postgres/moments.ts';
import { connectionConfig, describeTarget } from '../../databases/postgres/connection.ts';
import { CrossfadeError, driverCode, messageOf } from '../../errors.ts';
import { POSTGRES_SCHEMA } from '../../protocol.ts';
import { NotPrimary } from '../not-primary.ts';
import { postgresReadingText, postgresText } from '../placeholders.ts';
import { asSqlite, postgresParams, resultTypes } from '../values.ts';
import { Doom } from './doomed.ts';
import { runMigrations, type ScriptTransaction } from './migrations.ts';

export interface PostgresAdapterOptions {
  /** Every integer as bigint; default false: only those beyond 2^53. */
  safeIntegers?: boolean;
  /** Connections at most; default 20. */
  max?: number;
  /** An unused connection is closed after this; default 30000, 0 never. */
  idleTimeoutMs?: number;
  /** How long an operation waits for a connection, new or from the pool; default 2000. */
  connectTimeoutMs?: number;
  /** Shown in pg_stat_activity; default `crossfade-router`. */
  applicationName?: string;
  /** What else a new connection needs before it is used; what it throws ends the connection. */
  onConnect?: (client: pg.ClientBase) => Promise<void>;
}

/** Called inside a transaction after its callback and before its commit; what it throws rolls it back. */
export type BeforeCommit = (run: (text: string) => Promise<Record<string, unknown>[]>) => Promise<void>;

const STATE = `SELECT state FROM ${POSTGRES_SCHEMA}.router_state()`;

/** A transaction that only read is checked at its end: what it read was read on the primary. @throws NotPrimary */
export const stillPrimary: BeforeCommit = async (run) => {
  const [row] = await run(STATE);
  if (row?.['state'] !== 'open' && row?.['state'] !== 'fencing') throw new NotPrimary('target');
};

/** What the conversions of values and the durability of a commit rest on, whatever the role's settings are. */
const SESSION = `SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'; SET extra_float_digits = 1;
  SET TimeZone = 'UTC'; SET standard_conforming_strings = on; SET synchronous_commit = on`;

const CONNECT_MS = 2_000;

/** Refuses several statements in one text, as SQLite does. */
const EXTENDED = { queryMode: 'extended' };

/** Commands whose count is of changed rows. */
const CHANGING = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY']);

export class PostgresAdapter implements DatabaseAdapter {
  readonly dialect = 'postgres';
  readonly capabilities: Capabilities = {
    interactiveTransactions: true,
    concurrentWriters: true,
  };
  readonly pool: pg.Pool;
  /** Host and database, for messages. */
  readonly where: string;
  readonly #safeIntegers: boolean;
  /** By connection: one that is older than a table of dates has ended before the table is read, idle as it was. */
  readonly #moments = new WeakMap<pg.ClientBase, HeldMoments>();

  /** Connects with the first statement. @throws CrossfadeError BadConnection for a bad URL */
  constructor(url: string, options: PostgresAdapterOptions = {}) {
    this.where = describeTarget(url);
    this.#safeIntegers = options.safeIntegers ?? false;
    this.pool = createPool(url, options, async (client) => {
      this.#moments.set(client, await readHeldMoments(client, options.connectTimeoutMs ?? CONNECT_MS));
    });
  }

  async query<T = Row>(sql: Sql, params: readonly Value[] = [], timeoutMs?: number): Promise<T[]> {
    const text = postgresReadingText(sql);
    const values = postgresParams(params);
    const client = await this.#connect();
    return this.#with(
      client,
      async () =>
        this.#decoded(client, await client.query({ ...EXTENDED, ...limit(timeoutMs), text, values }))
          .rows as T[],
    );
  }

  async write<T = Row>(sql: Sql, params: readonly Value[] = []): Promise<WriteResult<T>> {
    const text = postgresText(sql);
    const values = postgresParams(params);
    const client = await this.#connect();
    return this.#with(client, async () => {
      try {
        return written<T>(this.#decoded(client, await client.query({ ...EXTENDED, text, values })));
      } catch (error) {
        if (!isOutcomeUnknown(error)) throw error;
        throw isNotSent(error) ? connectError(this.where, error) : this.#outcomeUnknown('write', error);
      }
    });
  }

  batch(operations: readonly Operation[]): Promise<WriteResult[]> {
    return this.transaction(async (tx) => {
      const results: WriteResult[] = [];
      for (const { sql, params } of operations) results.push(await tx.write(sql, params));
      return results;
    });
  }

  transaction<T>(callback: (tx: Transaction) => Promise<T>, beforeCommit?: BeforeCommit): Promise<T> {
    return this.#interactive(callback, beforeCommit);
  }

  migrate(migrations: readonly Migration[], direction: 'up' | 'down' = 'up'): Promise<string[]> {
    return runMigrations((work) => this.#interactive(work), migrations, direction);
  }

  /** Waits for the statements that are running. */
  async close(): Promise<void> {
    if (!this.pool.ended && !this.pool.ending) await this.pool.end();
  }

  async #interactive<T>(
    callback: (tx: ScriptTransaction) => Promise<T>,
    beforeCommit?: BeforeCommit,
  ): Promise<T> {
    const client = await this.#connect();
    const doom = new Doom();
    const statements = new Queue();
    let lost = true;
    try {
      await client.query('BEGIN').catch((error: unknown) => {
        throw isOutcomeUnknown(error) ? this.#lost(error) : error;
      });
      let result: T;
      try {
        result = await callback(this.#transaction(client, doom, statements));
        await statements.idle();
        doom.close();
        await beforeCommit?.(async (text) => (await client.query(text)).rows as Record<string, unknown>[]);
      } catch (error) {
        const reason = doom.reason(error);
        await statements.idle();
        // Where the connection is lost the server rolls back by itself; the first failure is the one to report.
        lost = await client.query('ROLLBACK').then(
          () => false,
          () => true,
        );
        throw reason;
      }
      await this.#commit(client);
      lost = false;
      return result;
    } finally {
      client.release(lost || inTransaction(client));
    }
  }

  #transaction(client: pg.PoolClient, doom: Doom, statements: Queue): ScriptTransaction {
    const run = async (query: pg.QueryConfig): Promise<pg.QueryResult> => {
      doom.check();
      return statements.add(async () => {
        doom.check();
        try {
          return await client.query(query);
        } catch (error) {
          return doom.fail(isOutcomeUnknown(error) ? this.#lost(error) : error);
        }
      });
    };
    const statement = async (text: string, params: readonly Value[] = []): Promise<pg.QueryResult> =>
      this.#decoded(client, await run({ ...EXTENDED, text, values: postgresParams(params) }));
    return {
      query: async <T>(sql: Sql, params?: readonly Value[]) =>
        (await statement(postgresReadingText(sql), params)).rows as T[],
      write: async <T>(sql: Sql, params?: readonly Value[]) =>
        written<T>(await statement(postgresText(sql), params)),
      script: async (sql) => void (await run({ text: typeof sql === 'string' ? sql : sql.postgres })),
    };
  }

  #decoded(client: pg.PoolClient, result: pg.QueryResult): pg.QueryResult {
    return asSqlite(result, this.#safeIntegers, this.#moments.get(client));
  }

  async #commit(client: pg.PoolClient): Promise<void> {
    let command: string;
    try {
      ({ command } = await client.query('COMMIT'));
    } catch (error) {
      throw isOutcomeUnknown(error) ? this.#outcomeUnknown('COMMIT', error) : error;
    }
    if (command !== 'COMMIT') {
      throw new CrossfadeError(
        'TargetRefused',
        `${this.where} rolled the transaction back at its COMMIT: nothing of it was applied`,
      );
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.pool.connect();
    } catch (error) {
      throw connectError(this.where, error);
    }
  }

  /** Gives the connection back, or ends it where it can no longer be trusted. */
  async #with<T>(client: pg.PoolClient, work: () => Promise<T>): Promise<T> {
    let lost = false;
    try {
      return await work();
    } catch (error) {
      lost = isOutcomeUnknown(error instanceof CrossfadeError ? error.cause : error);
      throw error;
    } finally {
      client.release(lost || inTransaction(client));
    }
  }

  /** The connection broke before a COMMIT was sent. */
  #lost(error: unknown): CrossfadeError {
    return new CrossfadeError(
      'TargetUnreachable',
      `the connection to ${this.where} was lost inside a transaction: nothing of it was applied`,
      error,
    );
  }

  #outcomeUnknown(what: string, error: unknown): CrossfadeError {
    return new CrossfadeError(
      'OutcomeUnknown',
      `the connection to ${this.where} was lost during the ${what}: it may or may not have been applied, so it was ` +
        'not sent again. Read the rows it should have changed before repeating it',
      error,
    );
  }
}

/**
 * A pool on the target with everything the router relies on.
 * @param prepare what else a new connection needs @throws CrossfadeError BadConnection
 */
export function createPool(
  url: string,
  options: PostgresAdapterOptions,
  prepare?: (client: pg.ClientBase) => Promise<void>,
): pg.Pool {
  const config: pg.PoolConfig & { onConnect: (client: pg.ClientBase) => Promise<void> } = {
    ...connectionConfig(url),
    application_name: options.applicationName ?? 'crossfade-router',
    max: options.max ?? 20,
    idleTimeoutMillis: options.idleTimeoutMs ?? 30_000,
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_MS,
    allowExitOnIdle: true,
    keepAlive: true,
    types: resultTypes(options.safeIntegers ?? false),
    onConnect: async (client) => {
      // Without a listener a connection that breaks between two statements of a transaction would end the process;
      // the next statement reports it.
      client.on('error', () => undefined);
      await client.query({ ...limit(options.connectTimeoutMs ?? CONNECT_MS), text: SESSION });
      await prepare?.(client);
      await options.onConnect?.(client);
    },
  };
  const pool = new pg.Pool(config);
  // An idle connection that breaks has been taken out of the pool already.
  pool.on('error', () => undefined);
  return pool;
}

/** Nothing was sent. */
function connectError(where: string, error: unknown): CrossfadeError {
  const exhausted = messageOf(error).startsWith('timeout exceeded when trying to connect');
  const reason = exhausted ? 'every connection of the pool stayed in use' : messageOf(error);
  return new CrossfadeError(
    'TargetUnreachable',
    `no connection to ${where}: ${reason}; the statement was not sent`,
    error,
  );
}

/**
 * True where the server may have committed although an error came back: the connection broke, or the session was ended
 * from outside (57P…), which PostgreSQL may still report after a commit. 08P01 is a wrong number of parameters.
 */
function isOutcomeUnknown(error: unknown): boolean {
  if (error instanceof CrossfadeError) return false;
  if (!(error instanceof pg.DatabaseError)) return true;
  const code = driverCode(error);
  return (code.startsWith('08') && code !== '08P01') || code.startsWith('57P') || code === '40003';
}

/** The connection had broken while it was idle, which pg noticed before it sent anything. */
function isNotSent(error: unknown): boolean {
  return messageOf(error).endsWith('is not queryable');
}

function inTransaction(client: pg.PoolClient): boolean {
  return (client as pg.PoolClient & { getTransactionStatus(): string | null }).getTransactionStatus() !== 'I';
}

function limit(timeoutMs: number | undefined): { query_timeout?: number } {
  return timeoutMs === undefined ? {} : { query_timeout: timeoutMs };
}

function written<T>(result: pg.QueryResult): WriteResult<T> {
  return { changes: CHANGING.has(result.command) ? (result.rowCount ?? 0) : 0, rows: result.rows as T[] };
}

/** A connection takes one statement at a time; a callback may start several. */
class Queue {
  #last: Promise<unknown> = Promise.resolve();

  add<T>(statement: () => Promise<T>): Promise<T> {
    const next = this.#last.then(statement);
    this.#last = next.catch(() => undefined);
    return next;
  }

  async idle(): Promise<void> {
    await this.#last;
  }
}
