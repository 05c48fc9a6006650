/** One schema in two states: still on SQLite, and moved to PostgreSQL by the real engine, each behind a DatabaseConnection. */
import type Database from 'better-sqlite3';
import type { Row, Sql, Value, WriteResult } from '../../src/databases/adapter.ts';
import { DatabaseConnection, type DatabaseConnectionOptions } from '../../src/router/connection.ts';
import { TestMigration } from './migration.ts';
import { silent } from './router.ts';

export function expectSame(source: readonly object[], target: readonly object[]): void {
  expect(target).toStrictEqual(source);
  expect(target.map((row) => Object.keys(row))).toEqual(source.map((row) => Object.keys(row)));
}

export class Answers {
  readonly migration: TestMigration;
  readonly before: DatabaseConnection;
  readonly after: DatabaseConnection;
  readonly #copy: string;
  readonly #opened: DatabaseConnection[] = [];

  private constructor(migration: TestMigration, copy: string) {
    this.migration = migration;
    this.#copy = copy;
    [this.before, this.after] = this.connections();
  }

  /**
   * @param schema statements that make and fill the source
   * @param options.fill does what is easier said in JavaScript
   * @param options.shifting called while SQLite is primary and PostgreSQL a complete copy
   */
  static async create(
    schema: string,
    options: {
      fill?: (db: Database.Database) => void;
      shifting?: (migration: TestMigration) => Promise<void>;
    } = {},
  ): Promise<Answers> {
    const migration = await TestMigration.create(schema);
    try {
      options.fill?.(migration.app);
      const copy = `${migration.endpoints.sourcePath}.before`;
      await migration.app.backup(copy);
      await migration.upToVerified();
      await options.shifting?.(migration);
      await migration.foreignKeys();
      const { outcome } = await migration.cutOver();
      if (outcome !== 'moved') throw new Error(`the cutover ${outcome}`);
      return new Answers(migration, copy);
    } catch (error) {
      await migration.dispose();
      throw error;
    }
  }

  /** The one whose primary is SQLite, and the one whose primary is PostgreSQL. */
  connections(options: Partial<DatabaseConnectionOptions> = {}): [DatabaseConnection, DatabaseConnection] {
    const { sourcePath, targetUrl } = this.migration.endpoints;
    const common = { logger: silent, synchronous: 'normal', ...options } as const;
    const before = new DatabaseConnection({ source: this.#copy, ...common });
    const after = new DatabaseConnection({ source: sourcePath, target: targetUrl, ...common });
    this.#opened.push(before, after);
    return [before, after];
  }

  /** What SQLite answers; fails unless PostgreSQL's answer is deep-equal, the order of the columns included. */
  async same(sql: Sql, params: readonly Value[] = []): Promise<Row[]> {
    const [source, target] = await this.both((db) => db.query(sql, params));
    expectSame(source, target);
    return source;
  }

  /** As `same`, for a statement that writes. */
  async sameWrite(sql: Sql, params: readonly Value[] = []): Promise<WriteResult> {
    const [source, target] = await this.both((db) => db.write(sql, params));
    expect(target.changes).toBe(source.changes);
    expectSame(source.rows, target.rows);
    return source;
  }

  /** Does one thing on each, SQLite first. */
  async both<T>(work: (db: DatabaseConnection) => Promise<T>): Promise<[T, T]> {
    return [await work(this.before), await work(this.after)];
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#opened.map((connection) => connection.close()));
    await this.migration.dispose();
  }
}
