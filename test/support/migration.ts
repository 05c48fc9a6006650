/** A migration driven step by step by the real engine on real databases, without Temporal. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import pg from 'pg';
import {
  DEFAULT_INPUT,
  type CutoverReport,
  type MigrationInput,
  type Plan,
  type Policies,
  type ViewsReport,
} from '../../src/contract.ts';
import type { Lease } from '../../src/databases/sqlite/control.ts';
import { openSource } from '../../src/databases/sqlite/connection.ts';
import { beginMigration } from '../../src/engine/begin.ts';
import { copyTables } from '../../src/engine/copy.ts';
import { cutOver } from '../../src/engine/cutover.ts';
import type { Endpoints } from '../../src/engine/endpoints.ts';
import { planMigration } from '../../src/engine/plan.ts';
import { Replayer } from '../../src/engine/replay.ts';
import { ReverseReplayer } from '../../src/engine/reverse.ts';
import { startCapture } from '../../src/engine/source-control.ts';
import { createIndexes } from '../../src/engine/target-indexes.ts';
import { addForeignKeys, createTables } from '../../src/engine/target-schema.ts';
import { verifyStep } from '../../src/engine/verify-step.ts';
import { createTestDatabase } from './postgres.ts';

export const never: AbortSignal = new AbortController().signal;

export class TestMigration {
  readonly endpoints: Endpoints;
  /** The application's own connection to the source. */
  readonly app: Database.Database;
  readonly target: pg.Client;
  readonly name = `test-${randomUUID().slice(0, 8)}`;
  plan!: Plan;
  epoch = 1;
  private ordinal = 0;
  readonly folder: string;
  private readonly drop: () => Promise<void>;

  private constructor(folder: string, url: string, drop: () => Promise<void>, target: pg.Client) {
    this.folder = folder;
    this.drop = drop;
    this.target = target;
    this.endpoints = { sourcePath: join(folder, 'app.sqlite'), targetUrl: url };
    this.app = new Database(this.endpoints.sourcePath);
    this.app.pragma('journal_mode = WAL');
    this.app.pragma('synchronous = OFF');
  }

  static async create(schema: string): Promise<TestMigration> {
    const folder = mkdtempSync(join(tmpdir(), 'crossfade-test-'));
    const database = await createTestDatabase();
    const target = new pg.Client({ connectionString: database.url });
    // Dropping the database ends this connection as well.
    target.on('error', () => undefined);
    await target.connect();
    const migration = new TestMigration(folder, database.url, database.drop, target);
    migration.app.exec(schema);
    return migration;
  }

  async dispose(): Promise<void> {
    this.app.close();
    await this.target.end().catch(() => undefined);
    await this.drop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  lease<Role extends string>(role: Role): Lease<Role> {
    this.ordinal++;
    return { role, epoch: this.epoch, ordinal: this.ordinal, holder: randomUUID() };
  }

  /** Plan to capture: from here on every change is logged. */
  async begin(
    policies: Policies = DEFAULT_INPUT.policies,
    capture: MigrationInput['capture'] = DEFAULT_INPUT.capture,
    overrides: MigrationInput['overrides'] = {},
  ): Promise<void> {
    const db = openSource(this.endpoints.sourcePath, 'read');
    try {
      this.plan = await planMigration(db, { policies, overrides });
    } finally {
      db.close();
    }
    if (this.plan.blockers.length > 0) throw new Error(JSON.stringify(this.plan.blockers));
    await beginMigration(this.endpoints, this.name, this.plan);
    await createTables(this.endpoints, this.lease('control'));
    await startCapture(this.endpoints.sourcePath, this.lease('control'), this.plan, capture);
  }

  copy(settings: Partial<typeof DEFAULT_INPUT.copy> = {}, onProgress: () => void = () => undefined) {
    return copyTables({
      endpoints: this.endpoints,
      lease: this.lease('copy'),
      tables: this.plan.tables,
      settings: { ...DEFAULT_INPUT.copy, ...settings },
      signal: never,
      onProgress,
    });
  }

  /** Applies everything that the log holds now. */
  async catchUp(): Promise<void> {
    const replayer = await Replayer.open(this.endpoints, this.lease('replay'));
    try {
      while ((await replayer.step()) > 0);
    } finally {
      await replayer.close();
    }
  }

  index(): Promise<ViewsReport> {
    return createIndexes(this.endpoints, this.lease('control'), never);
  }

  foreignKeys(): Promise<boolean> {
    return addForeignKeys(this.endpoints, this.lease('control'));
  }

  verify(mode: 'full' | 'sample' = 'full', onProgress: () => void = () => undefined) {
    return verifyStep({
      endpoints: this.endpoints,
      lease: this.lease('control'),
      mode,
      sampleRows: 100,
      signal: never,
      onProgress,
    });
  }

  /** Begin to verified: everything before the reads are shifted. */
  async upToVerified(): Promise<void> {
    await this.begin();
    await this.copy();
    await this.catchUp();
    await this.index();
    await this.catchUp();
    await this.verify();
  }

  async cutOver(maxPauseMs = 10_000): Promise<CutoverReport> {
    const report = await cutOver({
      endpoints: this.endpoints,
      replayLease: this.lease('replay'),
      sourceLease: this.lease('control'),
      maxPauseMs,
      signal: never,
    });
    this.epoch = report.epoch;
    return report;
  }

  /** Applies to the source everything that the target's log holds now. */
  async reverseCatchUp(): Promise<void> {
    const replayer = await ReverseReplayer.open(this.endpoints, this.lease('reverse'));
    try {
      while ((await replayer.step()) > 0);
    } finally {
      await replayer.close();
    }
  }
}
