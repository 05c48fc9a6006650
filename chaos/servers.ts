/** The servers of a chaos session, which are stopped and started again under the runs that use them. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startPostgres, type PostgresServer } from '../src/embedded/postgres.ts';
import { startTemporal, type TemporalServer } from '../src/embedded/temporal.ts';
import { messageOf } from '../src/errors.ts';
import { hold } from './keep.ts';
import { Proxy } from './proxy.ts';
import { SmallDisk } from './small-disk.ts';

export interface Urls {
  /** Through the proxy. */
  url: string;
  /** Not through it. */
  direct: string;
}

const TABLESPACE = 'small';
/** Longer than a disk is full. */
const RECOVERY_MS = 60_000;
const AGAIN_MS = 250;

export class Servers {
  readonly #folder: string;
  readonly #onLine: (line: string) => void;
  #postgres!: PostgresServer;
  #temporal!: TemporalServer;
  #proxy!: Proxy;
  #disk: SmallDisk | undefined;
  /** Why the target's disk cannot be filled; undefined where it can. */
  withoutDisk: string | undefined;

  private constructor(folder: string, onLine: (line: string) => void) {
    this.#folder = folder;
    this.#onLine = onLine;
  }

  static async start(folder: string, onLine: (line: string) => void): Promise<Servers> {
    mkdirSync(folder, { recursive: true });
    const servers = new Servers(folder, onLine);
    await Promise.all([servers.#startPostgres(), servers.#startTemporal()]);
    await servers.#makeDisk();
    servers.#proxy = await Proxy.start(Number(new URL(servers.#postgres.url).port));
    return servers;
  }

  get proxy(): Proxy {
    return this.#proxy;
  }

  /** @throws Error where `withoutDisk` says why not */
  get disk(): SmallDisk {
    if (this.#disk === undefined) throw new Error(this.withoutDisk ?? 'the disk is removed');
    return this.#disk;
  }

  get temporalAddress(): string {
    return this.#temporal.address;
  }

  /** A new empty database. */
  async createDatabase(name: string): Promise<Urls> {
    const direct = new URL(this.#postgres.url);
    const tablespace = this.#disk === undefined ? '' : ` TABLESPACE ${TABLESPACE}`;
    await this.#administer(`CREATE DATABASE "${name}"${tablespace}`);
    direct.pathname = `/${name}`;
    const url = new URL(direct);
    url.port = String(this.#proxy.port);
    return {
      url: url.toString(),
      direct: direct.toString(),
    };
  }

  dropDatabase(name: string): Promise<void> {
    return this.#administer(`DROP DATABASE "${name}" WITH (FORCE)`);
  }

  /** An immediate shutdown: no checkpoint, recovery at the next start. */
  async crashPostgres(): Promise<void> {
    const { pid } = this.#postgres;
    if (pid === undefined) throw new Error('PostgreSQL is not ours to stop');
    const gone = this.#postgres.failed.catch(() => undefined);
    process.kill(pid, 'SIGQUIT');
    await gone;
    await this.#recoverPostgres();
  }

  /** kill -9, and a new start on the file that it left. */
  async crashTemporal(): Promise<void> {
    const { pid } = this.#temporal;
    if (pid === undefined) throw new Error("Temporal's server is not ours to stop");
    const gone = this.#temporal.failed.catch(() => undefined);
    process.kill(pid, 'SIGKILL');
    await gone;
    await this.#startTemporal();
  }

  /** The server with all its sessions stops for so long, and goes on where it was. */
  async hangPostgres(ms: number): Promise<void> {
    const { pid } = this.#postgres;
    if (pid === undefined) throw new Error('PostgreSQL is not ours to stop');
    await hold(pid, ms);
  }

  async hangTemporal(ms: number): Promise<void> {
    const { pid } = this.#temporal;
    if (pid === undefined) throw new Error("Temporal's server is not ours to stop");
    await hold(pid, ms);
  }

  async stop(): Promise<void> {
    await this.#proxy.close();
    await Promise.all([this.#postgres.stop(), this.#temporal.stop()]);
    await this.#disk?.remove();
    this.#disk = undefined;
  }

  async #makeDisk(): Promise<void> {
    this.withoutDisk = SmallDisk.impossible();
    if (this.withoutDisk !== undefined) return;
    const folder = join(this.#folder, 'postgres');
    try {
      this.#disk = await SmallDisk.create(join(folder, 'disk'), join(folder, 'cluster'));
      await this.#administer(`CREATE TABLESPACE ${TABLESPACE} LOCATION '${this.#disk.data}'`);
    } catch (error) {
      // Root of a container may not mount.
      this.withoutDisk = messageOf(error);
      await this.#disk?.remove();
      this.#disk = undefined;
    }
  }

  /** A server that cannot recover, because its disk is full, ends itself: it is started again until it can. */
  async #recoverPostgres(): Promise<void> {
    const until = performance.now() + RECOVERY_MS;
    for (;;) {
      try {
        return await this.#startPostgres();
      } catch (error) {
        if (performance.now() > until) throw error;
        await sleep(AGAIN_MS);
      }
    }
  }

  async #startPostgres(): Promise<void> {
    const env = { ...process.env };
    delete env['TARGET_URL'];
    this.#postgres = await startPostgres({
      env,
      dataDir: join(this.#folder, 'postgres'),
      onLine: this.#onLine,
    });
  }

  async #startTemporal(): Promise<void> {
    const env = { ...process.env };
    delete env['TEMPORAL_ADDRESS'];
    const stateFile = join(this.#folder, 'temporal.sqlite');
    this.#temporal = await startTemporal({ env, stateFile, onLine: this.#onLine });
  }

  async #administer(sql: string): Promise<void> {
    const url = new URL(this.#postgres.url);
    url.pathname = '/postgres';
    const client = new pg.Client({ connectionString: url.toString() });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  }
}
