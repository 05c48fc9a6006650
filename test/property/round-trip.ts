/** One case: there by the real engine, replay, cutover, and back, with everything compared on the way. */
import fc from 'fast-check';
import type { CutoverReport, Verdict } from '../../src/contract.ts';
import { cleanSource } from '../../src/engine/finish.ts';
import { moveWritesBack } from '../../src/engine/rollback.ts';
import { verifyDatabases } from '../../src/engine/verify.ts';
import { never, TestMigration } from '../support/migration.ts';
import { contents, differences, schemaOf } from '../support/same.ts';
import { schemaDifferences } from '../support/same-schema.ts';
import { undeserved } from './expected-blockers.ts';
import { anySchema, quoted, type Table } from './ddl.ts';
import { anyTargetWrites, touchAll, writeOnTarget, type TargetWrite } from './target-writes.ts';
import { anyWrites, Writer, type Transaction } from './writes.ts';

export interface Case {
  tables: Table[];
  /** Rows of a chunk of the copy. */
  batchRows: number;
  /** Before the copy, after it, once indexes are there, and once foreign keys are. */
  writes: Transaction[][];
  /** What happens on PostgreSQL before the way back: nothing, every row written as it is, or writes of its own. */
  onTarget: 'nothing' | 'touch' | TargetWrite[];
}

/** The later parts are only made smaller once the earlier ones cannot be. */
export const anyCase: fc.Arbitrary<Case> = fc.record({
  writes: fc.array(anyWrites, { minLength: 4, maxLength: 4 }),
  tables: anySchema,
  batchRows: fc.constantFrom(1, 2, 3, 1_000),
  onTarget: fc.oneof(
    { weight: 1, arbitrary: fc.constant('nothing' as const) },
    { weight: 2, arbitrary: fc.constant('touch' as const) },
    { weight: 4, arbitrary: anyTargetWrites },
  ),
});

/** `refused` by the plan, deservedly; `held` because a later write did not fit what the plan had found; `equal` all the way. */
export type Ending = 'refused' | 'held' | 'equal';

/**
 * Runs a case.
 * @throws Error where anything is not as promised, with the SQL that leads there
 */
export async function roundTrip(subject: Case): Promise<Ending> {
  const migration = await TestMigration.create('');
  const script: string[] = [];
  try {
    return await new RoundTrip(migration, subject, script).run();
  } catch (error) {
    const message =
      error instanceof Error || typeof (error as Error).message === 'string'
        ? (error as Error).stack
        : String(error);
    throw new Error(`${message}\n\n${script.join('\n')}\n`, { cause: error });
  } finally {
    await migration.dispose();
  }
}

class RoundTrip {
  private readonly migration: TestMigration;
  private readonly subject: Case;
  private readonly script: string[];
  private readonly writer: Writer;

  constructor(migration: TestMigration, subject: Case, script: string[]) {
    this.migration = migration;
    this.subject = subject;
    this.script = script;
    this.writer = new Writer(migration.app, script);
  }

  async run(): Promise<Ending> {
    const { migration, subject, writer } = this;
    for (const sql of subject.tables.flatMap((table) => table.create)) writer.run(sql);
    writer.insertAll(subject.tables);
    const schema = schemaOf(migration.app);
    if (!(await this.begin())) {
      this.same('the refused source', schemaOf(migration.app), schema);
      return 'refused';
    }
    await this.there();
    if (await this.isHeld()) {
      const before = contents(migration.app);
      await cleanSource(migration.endpoints, migration.name);
      this.same('the rows after a rollback', contents(migration.app), before);
      this.same('the schema after a rollback', schemaOf(migration.app), schema);
      return 'held';
    }
    const report = await migration.cutOver();
    this.expectMoved(report);
    this.none(
      'differences of the schema',
      await schemaDifferences(migration.app, migration.target, migration.plan),
    );
    await this.back(schema);
    return 'equal';
  }

  /** @returns false where the plan refuses, and deserves it */
  private async begin(): Promise<boolean> {
    const { migration } = this;
    try {
      await migration.begin();
      return true;
    } catch (error) {
      const blockers = migration.plan?.blockers ?? [];
      if (blockers.length === 0) throw error;
      this.none(
        'blockers that nothing deserves',
        undeserved(migration.app, blockers).map((b) => `${b.code}: ${b.message}`),
      );
      const { rows } = await migration.target.query<{ n: string }>(
        `SELECT count(*) AS n FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'crossfade'))`,
      );
      this.same('objects on the target after a refusal', [rows[0]!.n], ['0']);
      return false;
    }
  }

  /** Up to where the cutover may come. */
  private async there(): Promise<void> {
    const { migration, subject } = this;
    this.write('while it is copied', 0);
    await migration.copy({ batchRows: subject.batchRows, batchBytes: 300 });
    this.write('after the copy', 1);
    await migration.catchUp();
    await migration.index();
    this.write('with indexes', 2);
    await migration.catchUp();
    if (await this.isHeld()) return;
    if (!(await migration.foreignKeys())) throw new Error('the foreign keys are not there');
    this.write('with foreign keys', 3);
    await migration.catchUp();
    if (await this.isHeld()) return;
    this.none('differences', await differences(migration.app, migration.target, migration.plan));
    this.expectEqual(await migration.verify());
  }

  private async back(schema: string[]): Promise<void> {
    const { migration, subject, script } = this;
    const before = contents(migration.app);
    const sequences = this.sequences();
    const broken = this.brokenForeignKeys();
    const { onTarget } = subject;
    script.push('-- on PostgreSQL, after the cutover');
    if (onTarget === 'touch') script.push(...(await touchAll(migration.target)));
    else if (onTarget !== 'nothing') await writeOnTarget(migration.target, onTarget, script);
    await migration.reverseCatchUp();
    const refused = await this.quarantine();
    this.none(
      'rows that the source refused',
      refused.filter((reason) => !this.isCheckLeftOut(reason)),
    );
    if (refused.length > 0) return;
    this.none(
      'differences after the writes on the target',
      await differences(migration.app, migration.target, migration.plan),
    );
    const verdict = await verifyDatabases({
      ...migration.endpoints,
      mode: 'full',
      sampleRows: 100,
      signal: never,
    });
    this.expectEqual(verdict);
    const report = await moveWritesBack({
      endpoints: migration.endpoints,
      lease: migration.lease('reverse'),
      maxPauseMs: 10_000,
    });
    this.expectMoved(report);
    this.none(
      'differences after the way back',
      await differences(migration.app, migration.target, migration.plan),
    );
    await cleanSource(migration.endpoints, migration.name);
    this.same('the schema after the way back', schemaOf(migration.app), schema);
    if (typeof onTarget === 'string') {
      this.same('the rows after the way back', contents(migration.app), before);
      this.same('sqlite_sequence', this.sequences(), sequences);
    }
    if (typeof onTarget === 'string') this.same('broken foreign keys', this.brokenForeignKeys(), broken);
    this.same('the file', migration.app.prepare('PRAGMA integrity_check').pluck().all() as string[], ['ok']);
  }

  private write(when: string, phase: number): void {
    this.script.push(`-- ${when}`);
    this.writer.transactions(this.subject.writes[phase]!, this.subject.tables);
  }

  /**
   * What AUTOINCREMENT never gives out again: an UPDATE of the id leaves sqlite_sequence behind, and SQLite then looks at the
   * rows as well, as PostgreSQL's sequence and what comes back from there do.
   */
  private sequences(): string[] {
    const { app } = this.migration;
    const exists = app.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'`).get();
    if (exists === undefined) return [];
    const names = app.prepare(
      `SELECT s.name, s.seq, c.name AS key FROM sqlite_sequence s JOIN pragma_table_info(s.name) c ON c.pk = 1
        WHERE s.name NOT LIKE '\\_crossfade%' ESCAPE '\\'`,
    );
    const rows = names.safeIntegers().all() as {
      name: string;
      seq: bigint;
      key: string;
    }[];
    return rows
      .map(({ name, seq, key }) => {
        const used = app
          .prepare(`SELECT coalesce(max(${quoted(key)}), 0) FROM ${quoted(name)}`)
          .pluck()
          .safeIntegers()
          .get() as bigint;
        return `${name} ${used > seq ? used : seq}`;
      })
      .sort();
  }

  /** SQLite lets some through: REPLACE may delete a parent behind the check of its own statement. */
  private brokenForeignKeys(): string[] {
    const { app } = this.migration;
    return (app.prepare('SELECT * FROM pragma_foreign_key_check').raw().all() as unknown[][])
      .map(([table, , parent, key]) => [table, parent, key].join(' '))
      .sort();
  }

  private async quarantine(): Promise<string[]> {
    const { rows } = await this.migration.target.query<{ reason: string }>(
      'SELECT reason FROM crossfade.quarantine',
    );
    return rows.map(({ reason }) => reason);
  }

  /** Are rows set aside, and every one because its values are not what the plan found? */
  private async isHeld(): Promise<boolean> {
    const reasons = await this.quarantine();
    const misfit =
      /another storage class or format|not valid UTF-8|invalid byte sequence|out of range|index row|a key column is NULL|invalid input syntax/;
    this.none(
      'rows set aside for no good reason',
      reasons.filter((reason) => !misfit.test(reason)),
    );
    return reasons.length > 0 || this.brokenForeignKeys().length > 0;
  }

  private isCheckLeftOut(reason: string): boolean {
    return (
      /CHECK constraint failed/.test(reason) &&
      this.migration.plan.notices.some(({ code }) => code.startsWith('check-'))
    );
  }

  private expectEqual(verdict: Verdict): void {
    if (!verdict.equal)
      throw new Error(`the engine's own verification: ${JSON.stringify(verdict.mismatches)}`);
  }

  private expectMoved(report: CutoverReport): void {
    if (report.outcome !== 'moved') throw new Error(`the writes did not move: ${report.reason}`);
  }

  private none(what: string, found: string[]): void {
    if (found.length > 0) throw new Error(`${what}:\n  ${found.slice(0, 10).join('\n  ')}`);
  }

  private same(what: string, found: string[], expected: string[]): void {
    const [more, less] = [
      found.filter((line) => !expected.includes(line)),
      expected.filter((line) => !found.includes(line)),
    ];
    if (more.length + less.length > 0 || found.length !== expected.length) {
      throw new Error(`${what} changed:\n  now ${more.join('\n  now ')}\n  was ${less.join('\n  was ')}`);
    }
  }
}
