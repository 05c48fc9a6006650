/** A D1 database in workerd, the application's Workers over it, and the target; the control rows are set by hand. */
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { Miniflare } from 'miniflare';
import pg from 'pg';
import type { D1PreparedStatement } from '../../../src/workers/d1.ts';
import { D1Source } from '../../../src/workers/source.ts';
import { createControl } from '../../../src/databases/sqlite/control.ts';
import { createTestDatabase, type TestDatabase } from '../postgres.ts';
import { OPEN_TOKEN, Proxy, SOURCE_TRIGGERS, startTarget } from '../router.ts';
import type { Answer, Body, Step } from './application.ts';
import {
  BATCH_SCRIPT,
  OWN_ADDRESS,
  runBatch,
  type BatchResult,
  type BatchStatement,
} from '../../../cloudflare/batch-worker.ts';
import { bundleWorker } from '../../../cloudflare/bundle-worker.ts';
import { fetchOnce } from '../../../cloudflare/fetch-once.ts';
import { fromJson, toJson } from '../../../cloudflare/json.ts';

const APPLICATION = fileURLToPath(new URL('./application.ts', import.meta.url));
const TABLE = 'CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, n INTEGER)';
const TARGET_TABLE = 'CREATE TABLE items (id bigint PRIMARY KEY, name text, n bigint)';

let application: Promise<string> | undefined;

export class WorkersPair {
  readonly admin: pg.Client;
  /** Between the Workers and the target. */
  readonly proxy: Proxy;
  readonly #postgres: TestDatabase;
  readonly #server: Miniflare;

  private constructor(postgres: TestDatabase, admin: pg.Client, proxy: Proxy, server: Miniflare) {
    this.#postgres = postgres;
    this.admin = admin;
    this.proxy = proxy;
    this.#server = server;
  }

  static async create(): Promise<WorkersPair> {
    application ??= bundleWorker({ file: APPLICATION }).then(({ code }) => code);
    const script = await application;
    const postgres = await createTestDatabase();
    const admin = new pg.Client({ connectionString: postgres.url });
    await admin.connect();
    const proxy = await Proxy.open(postgres.url);
    // Two Workers are two isolates that share nothing but the databases.
    const worker = (name: string): { name: string } & Record<string, unknown> => ({
      name,
      modules: true,
      script,
      compatibilityDate: '2026-01-01',
      compatibilityFlags: ['nodejs_compat'],
      bindings: { TARGET: proxy.url },
      d1Databases: { DB: 'shop' },
      ...OWN_ADDRESS,
    });
    const batch = { ...worker('batch'), script: BATCH_SCRIPT };
    const server = new Miniflare({ workers: [worker('one'), worker('other'), batch] } as never);
    await server.ready;
    const pair = new WorkersPair(postgres, admin, proxy, server);
    await pair.d1(TABLE);
    return pair;
  }

  /** One request. */
  async send(body: Body, isolate: 'one' | 'other' = 'one'): Promise<Answer> {
    const url = await this.#server.unsafeGetDirectURL(isolate);
    const response = await fetchOnce(url, { method: 'POST', body: toJson(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return fromJson(text) as Answer;
  }

  /** One operation in a request of its own. @throws its error */
  async run(step: Step, options: Body['options'] = {}, isolate: 'one' | 'other' = 'one'): Promise<unknown> {
    const { results } = await this.send({ steps: [step], options }, isolate);
    const [{ value, error } = {}] = results;
    if (error !== undefined) throw Object.assign(new Error(error.message), { code: error.code });
    return value;
  }

  /** One batch, past the router. @returns the rows of the last statement */
  async d1(...statements: string[]): Promise<Record<string, unknown>[]> {
    const results = await this.#batch(statements.map((sql) => ({ sql, params: [] })));
    return results.at(-1)!.results;
  }

  /**
   * The router's way to D1, without a Worker.
   * @param losesAnswer is asked after each batch whether its answer is lost
   */
  source(losesAnswer: () => boolean = () => false): D1Source {
    const statement = (sql: string, params: unknown[]): D1PreparedStatement & BatchStatement => ({
      ...{ sql, params },
      bind: (...values) => statement(sql, values),
    });
    return new D1Source({
      prepare: (sql) => statement(sql, []),
      batch: async (statements) => {
        const answers = await this.#batch(statements as (D1PreparedStatement & BatchStatement)[]);
        if (losesAnswer()) throw new Error('D1_ERROR: Network connection lost.');
        return answers;
      },
    });
  }

  async #batch(statements: BatchStatement[]): Promise<BatchResult[]> {
    return runBatch(await this.#server.unsafeGetDirectURL('batch'), statements);
  }

  /** Both control rows, fences, capture; the target standing by. */
  async startMigration(): Promise<void> {
    await this.d1(...controlStatements(), ...SOURCE_TRIGGERS);
    await startTarget(this.admin, TARGET_TABLE, 1);
  }

  /** Makes the target equal to the source and moves the checkpoint to the end of the log. */
  async replay(): Promise<void> {
    const rows = await this.sourceItems();
    const [head] = await this.d1('SELECT max(seq) AS seq FROM _crossfade_log');
    await this.admin.query(`BEGIN; SET LOCAL crossfade.lease = 'applier'; DELETE FROM items`);
    for (const { id, name, n } of rows)
      await this.admin.query('INSERT INTO items VALUES ($1, $2, $3)', [id, name, n]);
    await this.admin.query(`UPDATE crossfade.checkpoint SET position = ${String(head!['seq'])}; COMMIT`);
  }

  async control(assignments: string): Promise<void> {
    await this.d1(`UPDATE _crossfade_control SET ${assignments} WHERE id = 1`);
  }

  async targetControl(assignments: string): Promise<void> {
    await this.admin.query(`UPDATE crossfade.control SET ${assignments} WHERE id = 1`);
  }

  fence(): Promise<void> {
    return this.control(`state = 'fencing', deadline = ${Date.now() + 60_000}`);
  }

  /** The commit point of the cutover. */
  move(): Promise<void> {
    return this.control(`state = 'moved', epoch = epoch + 1, deadline = NULL, open_token = '${OPEN_TOKEN}'`);
  }

  async openTarget(): Promise<void> {
    await this.admin.query('SELECT crossfade.open_target(2, $1)', [OPEN_TOKEN]);
  }

  sourceItems(): Promise<Record<string, unknown>[]> {
    return this.d1('SELECT id, name, n FROM items ORDER BY id');
  }

  async targetItems(): Promise<Record<string, unknown>[]> {
    const { rows } = await this.admin.query('SELECT id::int, name, n::int FROM items ORDER BY id');
    return rows as Record<string, unknown>[];
  }

  async close(): Promise<void> {
    await this.#server.dispose();
    await this.proxy.close();
    await this.admin.end();
    await this.#postgres.drop();
  }
}

/** The control objects as the engine makes them. */
function controlStatements(): string[] {
  const db = new Database(':memory:');
  try {
    createControl(db, 'test', 1);
    const statements: string[] = [];
    for (const { name, sql } of db
      .prepare(`SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL`)
      .all() as {
      name: string;
      sql: string;
    }[]) {
      statements.push(sql);
      for (const row of db.prepare(`SELECT * FROM "${name}"`).all() as Record<string, unknown>[]) {
        const values = Object.values(row).map(
          (value) =>
            db
              .prepare('SELECT quote(?)')
              .pluck()
              .get(typeof value === 'number' ? BigInt(value) : value) as string,
        );
        statements.push(`INSERT INTO "${name}" VALUES (${values.join(', ')})`);
      }
    }
    return statements;
  } finally {
    db.close();
  }
}
