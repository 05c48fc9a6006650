/** A folder of dumps and an empty database to import them into. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { runCommand, type Result } from './command-line.ts';
import { createTestDatabase, type TestDatabase } from './postgres.ts';

export class ImportTarget {
  readonly folder = mkdtempSync(join(tmpdir(), 'crossfade-dump-'));
  /** For `--temp`. */
  readonly temp = join(this.folder, 'temp');
  readonly client: pg.Client;
  private readonly database: TestDatabase;

  private constructor(database: TestDatabase, client: pg.Client) {
    this.database = database;
    this.client = client;
    mkdirSync(this.temp);
  }

  static async create(): Promise<ImportTarget> {
    const database = await createTestDatabase();
    const client = new pg.Client({ connectionString: database.url });
    client.on('error', () => undefined);
    await client.connect();
    return new ImportTarget(database, client);
  }

  get url(): string {
    return this.database.url;
  }

  /** Writes a file into the folder. @returns its path */
  file(content: string | Buffer, name = 'dump.sql'): string {
    const path = join(this.folder, name);
    writeFileSync(path, content);
    return path;
  }

  arguments(from: string, ...more: string[]): string[] {
    return ['import', '--from', from, '--target', this.url, '--temp', this.temp, ...more];
  }

  /** Imports, and proves that nothing temporary is left. */
  async import(from: string, ...more: string[]): Promise<Result> {
    const result = await runCommand(this.arguments(from, ...more), {});
    expect(readdirSync(this.temp)).toEqual([]);
    return result;
  }

  /** Everything in the target that is not the server's own. */
  async objects(): Promise<string[]> {
    const { rows } = await this.client.query<{ name: string }>(
      `SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relkind IN ('r', 'v')
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = 'crossfade'
        UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1`,
    );
    return rows.map(({ name }) => name);
  }

  async rows(sql: string): Promise<unknown[]> {
    return (await this.client.query(sql)).rows;
  }

  async dispose(): Promise<void> {
    await this.client.end();
    await this.database.drop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
