/** A source and a target in the middle of a migration, made by hand: what the engine would do, step by step. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import pg from 'pg';
import pino from 'pino';
import { CONTROL_SQL } from '../../src/databases/postgres/control.ts';
import { createControl, REFUSES } from '../../src/databases/sqlite/control.ts';
import type { Alert } from '../../src/router/alerts.ts';
import { DatabaseConnection, type DatabaseConnectionOptions } from '../../src/router/connection.ts';
import { createTestDatabase, type TestDatabase } from './postgres.ts';

export const silent = pino({ level: 'silent' });
export const OPEN_TOKEN = 'test-token';

const SQLITE_TABLE = `CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, n INTEGER)`;
const POSTGRES_TABLE = `CREATE TABLE items (id bigint PRIMARY KEY, name text, n bigint)`;

/** Fence and capture of the table `items`, one statement each. */
export const SOURCE_TRIGGERS = [
  ['INSERT', 'NEW'],
  ['UPDATE', 'NEW'],
  ['DELETE', 'OLD'],
].flatMap(([operation, row]) => [
  `CREATE TRIGGER _crossfade_fence_${operation} BEFORE ${operation} ON items BEGIN
     SELECT RAISE(ABORT, 'crossfade: fenced') WHERE ${REFUSES} IS NOT 0;
   END`,
  `CREATE TRIGGER _crossfade_capture_${operation} AFTER ${operation} ON items BEGIN
     INSERT INTO _crossfade_log (t, k0) VALUES (1, ${row}.id);
   END`,
]);

/** The target of a migration "test", standing by, with a table `items` that is fenced. */
export async function startTarget(admin: pg.Client, table: string, position: number): Promise<void> {
  await admin.query(`${table}; ${CONTROL_SQL}`);
  await admin.query(
    `INSERT INTO crossfade.control (id, migration, epoch, state, open_hash, plan) VALUES (1, 'test', 1, 'standby', $1, '{}')`,
    [createHash('sha256').update(OPEN_TOKEN).digest('hex')],
  );
  await admin.query(`
    INSERT INTO crossfade.checkpoint (id, position, token, head) VALUES (1, ${position}, 0, 0);
    UPDATE crossfade.lease SET holder = 'applier' WHERE role = 'replay';
    CREATE TRIGGER _crossfade_fence BEFORE INSERT OR UPDATE OR DELETE ON items
      FOR EACH STATEMENT EXECUTE FUNCTION crossfade.fence();
    ALTER TABLE items ENABLE ALWAYS TRIGGER _crossfade_fence;
    CREATE TRIGGER _crossfade_fence_truncate BEFORE TRUNCATE ON items
      FOR EACH STATEMENT EXECUTE FUNCTION crossfade.fence();
    ALTER TABLE items ENABLE ALWAYS TRIGGER _crossfade_fence_truncate`);
}

export class Pair {
  readonly directory = mkdtempSync(join(tmpdir(), 'crossfade-router-'));
  readonly path = join(this.directory, 'app.db');
  readonly source: Database.Database = new Database(this.path);
  readonly alerts: Alert[] = [];
  readonly #postgres: TestDatabase;
  readonly admin: pg.Client;
  readonly #routers: DatabaseConnection[] = [];
  readonly #proxies: Proxy[] = [];

  private constructor(postgres: TestDatabase, admin: pg.Client) {
    this.#postgres = postgres;
    this.admin = admin;
    this.source.pragma('journal_mode = WAL');
    this.source.exec(SQLITE_TABLE);
  }

  static async create(): Promise<Pair> {
    const postgres = await createTestDatabase();
    const admin = new pg.Client({ connectionString: postgres.url });
    await admin.connect();
    return new Pair(postgres, admin);
  }

  get url(): string {
    return this.#postgres.url;
  }

  router(options: Partial<DatabaseConnectionOptions> = {}): DatabaseConnection {
    const router = new DatabaseConnection({
      source: `sqlite:${this.path}`,
      target: this.url,
      logger: silent,
      onAlert: (alert) => this.alerts.push(alert),
      // Long, so that whatever must not rest on the poll fails here if it does.
      pollMs: 60_000,
      ...options,
    });
    this.#routers.push(router);
    return router;
  }

  /** What the phases tables and capture leave behind: both control rows, fences, capture; the target standing by. */
  async startMigration(position = 0): Promise<void> {
    createControl(this.source, 'test', 1);
    const { source } = this;
    for (const trigger of SOURCE_TRIGGERS) source.exec(trigger);
    await startTarget(this.admin, POSTGRES_TABLE, position);
  }

  /** Makes the target equal to the source and moves the checkpoint to the end of the log. */
  async replay(): Promise<void> {
    const rows = this.source.prepare('SELECT id, name, n FROM items').raw().all() as unknown[][];
    const head = this.source.prepare('SELECT max(seq) FROM _crossfade_log').pluck().get() as number;
    await this.admin.query(`BEGIN; SET LOCAL crossfade.lease = 'applier'; DELETE FROM items`);
    for (const row of rows) await this.admin.query('INSERT INTO items VALUES ($1, $2, $3)', row);
    await this.admin.query(`UPDATE crossfade.checkpoint SET position = ${head}; COMMIT`);
  }

  control(assignments: string): void {
    this.source.exec(`UPDATE _crossfade_control SET ${assignments} WHERE id = 1`);
  }

  async targetControl(assignments: string): Promise<void> {
    await this.admin.query(`UPDATE crossfade.control SET ${assignments} WHERE id = 1`);
  }

  fenceSource(ms = 60_000): void {
    this.control(`state = 'fencing', deadline = ${Date.now() + ms}`);
  }

  /** The commit point of the cutover. */
  moveSource(): void {
    this.control(`state = 'moved', epoch = epoch + 1, deadline = NULL, open_token = '${OPEN_TOKEN}'`);
  }

  async targetState(): Promise<{ state: string; epoch: string }> {
    const { rows } = await this.admin.query('SELECT state, epoch FROM crossfade.control');
    return rows[0];
  }

  /** The migration is complete and the target open. */
  async cutOver(): Promise<void> {
    await this.replay();
    this.moveSource();
    await this.admin.query('SELECT crossfade.open_target(2, $1)', [OPEN_TOKEN]);
  }

  async targetItems(): Promise<unknown[]> {
    const { rows } = await this.admin.query('SELECT id::int, name, n::int FROM items ORDER BY id');
    return rows;
  }

  sourceItems(): unknown[] {
    return this.source.prepare('SELECT id, name, n FROM items ORDER BY id').all();
  }

  /** A way to the target that can be cut. */
  async proxy(): Promise<Proxy> {
    const proxy = await Proxy.open(this.url);
    this.#proxies.push(proxy);
    return proxy;
  }

  async close(): Promise<void> {
    await Promise.all(this.#routers.map((router) => router.close()));
    await Promise.all(this.#proxies.map((proxy) => proxy.close()));
    this.source.close();
    rmSync(this.directory, { recursive: true, force: true });
    await this.admin.end();
    await this.#postgres.drop();
  }
}

/** Forwards to PostgreSQL; can lose the server's replies, or everything. */
export class Proxy {
  readonly url: string;
  /** Ends a connection instead of delivering the reply to a statement that matches. */
  loseRepliesTo: RegExp | undefined;
  down = false;
  /** Connections that came. */
  accepted = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async open(target: string): Promise<Proxy> {
    const to = new URL(target);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const own = new URL(target);
    own.hostname = '127.0.0.1';
    own.port = String((server.address() as { port: number }).port);
    const proxy = new Proxy(server, own.toString());
    server.on('connection', (client) => proxy.#accept(client, to.hostname, Number(to.port || 5432)));
    return proxy;
  }

  #accept(client: Socket, host: string, port: number): void {
    this.accepted += 1;
    if (this.down) {
      client.destroy();
      return;
    }
    const server = connect(port, host);
    let losing = false;
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    client.on('data', (data) => {
      if (this.loseRepliesTo?.test(data.toString('latin1')) === true) losing = true;
      server.write(data);
    });
    server.on('data', (data) => {
      if (losing) client.destroy();
      else client.write(data);
    });
  }

  /** Refuses connections and ends those that are open. */
  cut(): void {
    this.down = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Waits until `condition` holds; a test that waits for ever is ended by jest. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
