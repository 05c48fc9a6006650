import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import pg from 'pg';
import { Application } from '../demo/application/application.ts';
import type { JournalLine } from '../demo/application/journal.ts';
import { checkDatabase, type CheckResult } from '../demo/checker/check.ts';
import { generateDatabase } from '../demo/database/generate.ts';
import { SqliteStore, copyToPostgres, type Meddle } from './support/demo-stores.ts';
import { createTestDatabase, type TestDatabase } from './support/postgres.ts';

const USERS = 200;

describe("the demo's checker", () => {
  let directory: string;
  let baseline: string;
  /** A database with honest traffic on it, and its journal. */
  let served: string;
  let journal: string;
  let runs = 0;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'crossfade-checker-'));
    baseline = join(directory, 'baseline.sqlite');
    await generateDatabase({ path: baseline, users: USERS, seed: 3 });
    ({ database: served, journal } = await serve());
  });

  afterAll(() => rmSync(directory, { recursive: true }));

  /** Traffic until a thousand writes are acknowledged. */
  async function serve(meddle?: Meddle): Promise<{ database: string; journal: string; errors: number }> {
    const database = join(directory, `served-${++runs}.sqlite`);
    const journalPath = join(directory, `journal-${runs}.jsonl`);
    copyFileSync(baseline, database);
    const store = new SqliteStore(database, meddle);
    const application = new Application({
      store,
      journalPath,
      operationsPerSecond: 100_000,
      lanes: 4,
      seed: 11,
    });
    await application.start();
    let figures = application.figures();
    while (figures.writes + figures.unknown < 1_000) {
      await new Promise((resolve) => setImmediate(resolve));
      figures = application.figures();
    }
    await application.stop();
    store.close();
    return { database, journal: journalPath, errors: application.figures().errors };
  }

  /** The served database after a change behind the application's back. */
  async function checkChanged(change: (db: Database.Database) => void): Promise<CheckResult> {
    const database = join(directory, `changed-${++runs}.sqlite`);
    copyFileSync(served, database);
    const db = new Database(database);
    db.pragma('foreign_keys = OFF');
    change(db);
    db.close();
    return checkDatabase({ baseline, journal, database: { sqlite: database } });
  }

  function lines(path: string): JournalLine[] {
    return readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as JournalLine);
  }

  /** The last count of a view of content that is still there and was not written to afterwards. */
  function lastCountedView(): { n: number; id: number } {
    const db = new Database(served, { readonly: true });
    try {
      const later = new Set<number>();
      for (const line of lines(journal).reverse()) {
        if (line.type !== 'attempt') continue;
        const [first] = line.owners.content;
        const last = first !== undefined && !later.has(first);
        for (const content of line.owners.content) later.add(content);
        if (line.operation !== 'count view' || !last) continue;
        const effect = line.effects[0];
        const id = effect?.kind === 'update' ? effect.key[0] : undefined;
        if (id !== undefined && db.prepare(`SELECT 1 FROM content WHERE id = ?`).get(id))
          return { n: line.n, id };
      }
    } finally {
      db.close();
    }
    throw new Error('no view was counted');
  }

  it('agrees with honest traffic of every kind', async () => {
    const result = await checkDatabase({ baseline, journal, database: { sqlite: served } });
    expect(result.findings).toEqual([]);
    expect(result).toMatchObject({ agrees: true, writesLost: 0, phantoms: 0, damaged: 0, unknown: 0 });
    expect(result.acknowledged).toBeGreaterThanOrEqual(1_000);
    expect(result.refused).toBeGreaterThan(0);
    expect(result.credits.actual).toBe(result.credits.expected);
    const operations = new Set(
      lines(journal).flatMap((line) => (line.type === 'attempt' ? [line.operation] : [])),
    );
    for (const operation of [
      'switch plan',
      'replace match',
      'launch',
      'archive some',
      'delete from content',
    ]) {
      expect(operations).toContain(operation);
    }
  });

  it('leaves the baseline as it was', async () => {
    const count = (path: string): unknown => {
      const db = new Database(path, { readonly: true });
      try {
        return db.prepare(`SELECT count(*), sum(view_count) FROM content`).raw().get();
      } finally {
        db.close();
      }
    };
    const before = count(baseline);
    await checkDatabase({ baseline, journal, database: { sqlite: served } });
    expect(count(baseline)).toEqual(before);
  });

  it('finds an acknowledged insert that is not there', async () => {
    const result = await checkChanged((db) => {
      db.exec(`DELETE FROM users WHERE id = (SELECT max(id) FROM users)`);
    });
    expect(result).toMatchObject({ agrees: false, writesLost: 1, phantoms: 0, damaged: 0 });
    expect(result.findings[0]).toMatch(/^users \d+: the row is missing; write \d+ \(.*\) is lost$/);
  });

  it('finds an older value', async () => {
    const { id } = lastCountedView();
    const result = await checkChanged((db) => {
      db.prepare(`UPDATE content SET view_count = view_count - 1 WHERE id = ?`).run(id);
    });
    expect(result).toMatchObject({ agrees: false, writesLost: 1, phantoms: 0, damaged: 0 });
    expect(result.findings[0]).toMatch(/view_count is "\d+" instead of "\d+"/);
  });

  it('finds a deleted row that came back', async () => {
    const deleted = lines(journal).findLast(
      (line) => line.type === 'attempt' && line.operation === 'delete from content',
    );
    const effect = deleted?.type === 'attempt' ? deleted.effects[0] : undefined;
    if (effect?.kind !== 'delete') throw new Error('nothing was deleted');
    const result = await checkChanged((db) => {
      db.prepare(`INSERT INTO content (id, user_id, slug, title) VALUES (?, 1, 'back', 'back')`).run(
        effect.key,
      );
    });
    expect(result).toMatchObject({ agrees: false, writesLost: 1, phantoms: 0, damaged: 0 });
    expect(result.findings[0]).toMatch(/was deleted and is there/);
  });

  it('finds a row that nobody wrote, and a refused one', async () => {
    const refused = lines(journal).find(
      (line) => line.type === 'attempt' && line.operation === 'sign up twice',
    );
    const effect = refused?.type === 'attempt' ? refused.effects[0] : undefined;
    if (effect?.kind !== 'insert') throw new Error('nobody signed up twice');
    const { email, username, display_name, bio, rating, avatar } = effect.values;
    const result = await checkChanged((db) => {
      db.exec(`INSERT INTO subscriptions (user_id, plan, status, price) VALUES (1, 'x', 'expired', 1)`);
      db.exec(`DROP INDEX idx_users_email`);
      const blob = avatar !== null && typeof avatar === 'object' ? Buffer.from(avatar.hex, 'hex') : null;
      db.prepare(
        `INSERT INTO users (email, username, display_name, bio, rating, avatar) VALUES (?, ?, ?, ?, ?, ?)`,
      ).run(email, username, display_name, bio, rating, blob);
    });
    expect(result).toMatchObject({ agrees: false, writesLost: 0, phantoms: 2, damaged: 0 });
    expect(result.findings.join('\n')).toMatch(/the refused write \d+ is there/);
    expect(result.findings.join('\n')).toMatch(/no acknowledged write made this row/);
  });

  it('finds a changed, a missing and a retyped row that the application never touched', async () => {
    const touched = new Set(
      lines(journal).flatMap((line) => (line.type === 'attempt' ? line.owners.content : [])),
    );
    const untouched = Array.from({ length: USERS }, (_, i) => i + 1).filter((id) => !touched.has(id));
    const result = await checkChanged((db) => {
      db.prepare(`UPDATE content SET title = title || ' ' WHERE id = ?`).run(untouched[0]);
      db.prepare(`DELETE FROM content WHERE id = ?`).run(untouched[1]);
      db.prepare(`UPDATE content SET body = CAST('5' AS BLOB) WHERE id = ?`).run(untouched[2]);
    });
    expect(result).toMatchObject({ agrees: false, writesLost: 0, phantoms: 0, damaged: 3 });
  });

  it('finds credits made out of nothing', async () => {
    const result = await checkChanged((db) => {
      db.exec(`UPDATE users SET credits = credits + 1 WHERE id = 5`);
    });
    expect(result.agrees).toBe(false);
    expect(result.credits.actual).toBe(result.credits.expected + 1);
  });

  it('finds writes that were acknowledged and never applied', async () => {
    let seen = 0;
    const liar = await serve((sql) =>
      sql.startsWith('UPDATE users SET bio') && ++seen % 20 === 0 ? 'pretend' : 'apply',
    );
    const result = await checkDatabase({
      baseline,
      journal: liar.journal,
      database: { sqlite: liar.database },
    });
    expect(result.writesLost).toBeGreaterThan(0);
    expect(result).toMatchObject({ agrees: false, phantoms: 0, damaged: 0 });
  });

  it('allows a write of unknown outcome either way', async () => {
    let seen = 0;
    const doubtful = await serve((sql) =>
      /^(INSERT|UPDATE|DELETE)/.test(sql) && ++seen % 100 === 0 ? 'lose the answer' : 'apply',
    );
    const result = await checkDatabase({
      baseline,
      journal: doubtful.journal,
      database: { sqlite: doubtful.database },
    });
    expect(result.unknown).toBeGreaterThan(5);
    expect(result.findings).toEqual([]);
    expect(result.agrees).toBe(true);
    expect(result.leftOut).toBeGreaterThan(0);
  });

  it('counts an attempt without an outcome as unknown, and two rows with one id as a contradiction', async () => {
    const inserted = lines(journal).findLast((line) => line.type === 'attempt' && line.operation === 'post');
    if (inserted?.type !== 'attempt') throw new Error('nothing was posted');
    const ack = lines(journal).find((line) => line.type === 'ack' && line.n === inserted.n);
    const cut = join(directory, 'cut.jsonl');
    const all = readFileSync(journal, 'utf8');
    writeFileSync(
      cut,
      `${all}${JSON.stringify({ ...inserted, n: 900_000 })}\n${JSON.stringify({ ...inserted, n: 900_001 })}\n` +
        `${JSON.stringify({ ...ack, n: 900_001 })}\n{"n":9000`,
    );
    const result = await checkDatabase({ baseline, journal: cut, database: { sqlite: served } });
    expect(result).toMatchObject({ agrees: false, unknown: 1, contradictions: 1 });
    expect(result.findings[0]).toMatch(/write 900001 \(post\): UNIQUE constraint failed/);
  });

  describe('on PostgreSQL', () => {
    let target: TestDatabase;
    let client: pg.Client;

    beforeAll(async () => {
      target = await createTestDatabase();
      await copyToPostgres(served, target.url);
      client = new pg.Client({ connectionString: target.url });
      await client.connect();
    });

    afterAll(async () => {
      await client.end();
      await target.drop();
    });

    const check = (): Promise<CheckResult> =>
      checkDatabase({ baseline, journal, database: { postgres: target.url } });

    it('agrees with an equal copy, every type included', async () => {
      const result = await check();
      expect(result.findings).toEqual([]);
      expect(result).toMatchObject({ agrees: true, database: 'PostgreSQL' });
    });

    it('finds one changed last digit, one lost byte and one flipped boolean', async () => {
      await client.query(`UPDATE matches SET score = score * (1 + 2.220446049250313e-16)
          WHERE ctid = (SELECT min(ctid) FROM matches)`);
      await client.query(
        `UPDATE users SET avatar = substr(avatar, 2) WHERE id = (SELECT min(id) FROM users WHERE length(avatar) > 0)`,
      );
      await client.query(
        `UPDATE content SET sponsored = NOT sponsored WHERE id = (SELECT max(id) FROM content)`,
      );
      const { writesLost, damaged, phantoms, findings } = await check();
      expect(writesLost + damaged + phantoms).toBe(3);
      expect(findings.join('\n')).toMatch(/avatar is .*\n.*sponsored is .*\n.*score is /);
    });
  });

  it('leaves out of the source what the target wrote after the cutover, and nothing else', async () => {
    const moved = join(directory, 'moved.jsonl');
    const all = lines(journal);
    const { n, id } = lastCountedView();
    writeFileSync(
      moved,
      all
        .map((line) =>
          JSON.stringify(line.type === 'ack' && line.n === n ? { ...line, primary: 'target' } : line),
        )
        .join('\n')
        .concat('\n'),
    );
    const stale = join(directory, 'stale.sqlite');
    copyFileSync(served, stale);
    const db = new Database(stale);
    db.prepare(`UPDATE content SET view_count = 0 WHERE id = ?`).run(id);
    db.close();
    const options = { baseline, journal: moved, database: { sqlite: stale } };
    expect(await checkDatabase(options)).toMatchObject({ agrees: false, writesLost: 1, targetWritesLost: 1 });
    expect(await checkDatabase({ ...options, exceptTargetsWrites: true })).toMatchObject({
      agrees: true,
      leftOut: 1,
      acknowledgedByTarget: 1,
    });
  });
});
