/** Copy, capture, replay, verification, cutover and rollback on real databases. */
import { DEFAULT_INPUT } from '../src/contract.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { cleanSource, finishMigration } from '../src/engine/finish.ts';
import { Verifier, verifyDatabases } from '../src/engine/verify.ts';
import { TestMigration } from './support/migration.ts';

const SCHEMA = `
  CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, active BOOLEAN NOT NULL DEFAULT 1,
    score REAL, note TEXT, picture BLOB, price DECIMAL(10,2), created_at DATETIME DEFAULT CURRENT_TIMESTAMP);
  CREATE INDEX account_created ON account (created_at DESC);
  CREATE TABLE membership (
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE, club TEXT NOT NULL, level INTEGER,
    PRIMARY KEY (club, account_id)) WITHOUT ROWID;
  CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT);
`;

const STRANGE = [
  '',
  'tab\there',
  'line\nfeed',
  'back\\slash',
  '\\N',
  '\\.',
  'quote\'"',
  'ünïcödé 漢字 🎉',
  '\b\f\v\r',
  '\u007f',
];

function fill(migration: TestMigration, accounts: number): void {
  const insert = migration.app.prepare(
    `INSERT INTO account (email, active, score, note, picture, price) VALUES (?, ?, ?, ?, ?, ?)`,
  );
  const join = migration.app.prepare('INSERT INTO membership VALUES (?, ?, ?)');
  migration.app.transaction(() => {
    for (let i = 1; i <= accounts; i++) {
      insert.run(
        `user${i}@example.com`,
        i % 2,
        i % 7 === 0 ? null : Math.sqrt(i) * 10 ** ((i % 40) - 20),
        i % 5 === 0 ? null : `${STRANGE[i % STRANGE.length]!}${i}`,
        i % 3 === 0 ? Buffer.from([0, 1, 255, i % 256]) : i % 3 === 1 ? Buffer.alloc(0) : null,
        (i % 1000) / 100,
      );
      if (i % 2 === 0) join.run(i, `club ${i % 17}`, i);
    }
    for (const [i, text] of STRANGE.entries()) {
      migration.app.prepare('INSERT INTO setting VALUES (?, ?)').run(`name ${i} ${text}`, text);
    }
  })();
}

describe('a migration of a live database', () => {
  let migration: TestMigration;

  beforeEach(async () => {
    migration = await TestMigration.create(SCHEMA);
    fill(migration, 3_000);
  });

  afterEach(async () => {
    await migration.dispose();
  });

  it('copies every row exactly and verifies it', async () => {
    await migration.begin();
    const report = await migration.copy({ batchRows: 100, batchBytes: 10_000 });
    expect(report.rows).toBe(3_000 + 1_500 + STRANGE.length);
    await migration.catchUp();
    await migration.index();
    const verdict = await migration.verify();
    expect(verdict).toMatchObject({ equal: true, mismatchCount: 0, rows: report.rows });
  });

  it('finds a changed value, a missing row and a row too many, and names them', async () => {
    await migration.upToVerified();
    await migration.target.query(`SET session_replication_role = replica`);
    await migration.target.query(`ALTER TABLE account DISABLE TRIGGER ALL`);
    await migration.target.query(`UPDATE account SET note = 'changed' WHERE id = 17`);
    await migration.target.query(`DELETE FROM account WHERE id = 18`);
    await migration.target.query(`INSERT INTO account (id, email) VALUES (99999, 'phantom')`);
    const verdict = await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 10 });
    expect(verdict.equal).toBe(false);
    expect(verdict.mismatches).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          table: 'account',
          key: '17',
          kind: 'different',
          column: 'note',
          secondary: 'changed',
        }),
        expect.objectContaining({ table: 'account', key: '18', kind: 'missing-on-secondary' }),
        expect.objectContaining({ table: 'account', key: '99999', kind: 'missing-on-primary' }),
      ]),
    );
  });

  it('replays changes made during and after the copy, REPLACE and swaps of unique values included', async () => {
    await migration.begin();
    migration.app.exec(`DELETE FROM account WHERE id = 5; UPDATE account SET id = 70000 WHERE id = 15`);
    await migration.copy({ batchRows: 50, batchBytes: 4_000 });
    migration.app.exec(`
      INSERT OR REPLACE INTO account (id, email) VALUES (80000, 'user7@example.com');
      UPDATE OR REPLACE account SET email = 'user8@example.com' WHERE id = 9;
      UPDATE account SET email = 'parked' WHERE id = 10;
      UPDATE account SET email = 'user10@example.com' WHERE id = 11;
      UPDATE account SET email = 'user11@example.com' WHERE id = 10;
      DELETE FROM membership WHERE club = 'club 3';
      UPDATE setting SET name = upper(name);
    `);
    await migration.catchUp();
    await migration.index();
    migration.app.exec(
      `UPDATE account SET email = id || email WHERE id < 100; DELETE FROM account WHERE id > 2990 AND id < 3000`,
    );
    await migration.catchUp();
    expect(await migration.verify()).toMatchObject({ equal: true });
  });

  it('cuts over, refuses writes on the old side, and brings everything back on rollback', async () => {
    await migration.upToVerified();
    expect(await migration.foreignKeys()).toBe(true);
    migration.app.exec(`INSERT INTO account (email) VALUES ('late@example.com')`);
    const moved = await migration.cutOver();
    expect(moved).toMatchObject({ outcome: 'moved', epoch: 2 });
    expect(() => migration.app.exec(`UPDATE account SET note = 'x' WHERE id = 1`)).toThrow(
      /crossfade: fenced/,
    );

    const { rows } = await migration.target.query(
      `INSERT INTO account (email, score) VALUES ('new@example.com', 0.1) RETURNING id, created_at IS NOT NULL AS dated`,
    );
    expect(rows).toEqual([{ id: '3002', dated: true }]);
    await migration.target.query(
      `UPDATE account SET note = 'from the target', picture = '\\x00ff' WHERE id = 2`,
    );
    await migration.target.query(`DELETE FROM account WHERE id = 4`);
    await migration.reverseCatchUp();
    expect(migration.app.prepare('SELECT note, picture FROM account WHERE id = 2').get()).toEqual({
      note: 'from the target',
      picture: Buffer.from([0, 255]),
    });
    expect(await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 50 })).toMatchObject({
      equal: true,
      mismatches: [],
    });

    await migration.target.query(`INSERT INTO account (email) VALUES ('last@example.com')`);
    const back = await moveWritesBack({
      endpoints: migration.endpoints,
      lease: migration.lease('reverse'),
      maxPauseMs: 5_000,
    });
    expect(back).toMatchObject({ outcome: 'moved', epoch: 3 });
    await expect(migration.target.query(`INSERT INTO account (email) VALUES ('too late')`)).rejects.toThrow(
      /crossfade: fenced/,
    );
    expect(
      migration.app
        .prepare(`SELECT count(*) FROM account WHERE email IN ('new@example.com', 'last@example.com')`)
        .pluck()
        .get(),
    ).toBe(2);
    await cleanSource(migration.endpoints, migration.name);
    const left = migration.app
      .prepare(`SELECT count(*) FROM sqlite_master WHERE name LIKE '\\_crossfade%' ESCAPE '\\'`)
      .pluck()
      .get();
    expect(left).toBe(0);
    const next = migration.app
      .prepare(`INSERT INTO account (email) VALUES ('again') RETURNING id`)
      .pluck()
      .get();
    expect(next).toBeGreaterThan(3_003);
  });

  it('leaves a read-only marker on the source after finish, or nothing', async () => {
    await migration.upToVerified();
    await migration.cutOver();
    await finishMigration(migration.endpoints, migration.lease('reverse'), 'fenced');
    expect(() => migration.app.exec(`DELETE FROM setting`)).toThrow(/crossfade: fenced/);
    await migration.target.query(`UPDATE account SET note = 'after'`);
    await finishMigration(migration.endpoints, migration.lease('reverse'), 'free');
    migration.app.exec(`DELETE FROM setting`);
  });
});

describe('what the source could not hold', () => {
  it('is refused on the target while there is a way back, and taken after finish; the application’s CHECK stays', async () => {
    const migration = await TestMigration.create(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, data JSON, level INTEGER CHECK (level > 0));
      INSERT INTO t VALUES (1, '2024-01-31 12:00:00', '{}', 1);`);
    const put = (values: string): Promise<unknown> =>
      migration.target.query(`INSERT INTO t VALUES (${values})`);
    try {
      await migration.upToVerified();
      await migration.cutOver();
      await expect(put(`2, '2024-01-31 12:00:00.5', '{}', 1`)).rejects.toMatchObject({
        constraint: 'crossfade_at',
      });
      await expect(put(`2, NULL, '5', 1`)).rejects.toMatchObject({ constraint: 'crossfade_data' });
      await finishMigration(migration.endpoints, migration.lease('reverse'), 'fenced');
      await put(`2, '2024-01-31 12:00:00.5', '5', 1`);
      await expect(put(`3, NULL, NULL, 0`)).rejects.toMatchObject({ code: '23514' });
    } finally {
      await migration.dispose();
    }
  });
});

describe('a migration that nobody drives any more', () => {
  it('does not fill the disk with its log; replay and verification notice what is gone, and the way back is open', async () => {
    const migration = await TestMigration.create(`CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)`);
    const write = (count: number): void => {
      migration.app.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
        INSERT OR REPLACE INTO t SELECT i, random() FROM n`);
    };
    const logged = (): unknown => migration.app.prepare('SELECT count(*) FROM _crossfade_log').pluck().get();
    try {
      write(10);
      await migration.begin(DEFAULT_INPUT.policies, { maxLogRows: 2_000 });
      await migration.copy();
      write(900);
      await migration.catchUp();
      write(1_500);
      // Replayed, but not compared since.
      await migration.catchUp();
      write(1_900);
      await migration.catchUp();
      const verifier = await Verifier.open(migration.endpoints, 'crossfade test');
      await expect(verifier.verifyChanges(1n)).rejects.toMatchObject({ code: 'LogOverflow' });
      await verifier.close();
      write(9_000);
      expect(logged()).toBeLessThanOrEqual(3_000);
      await expect(migration.catchUp()).rejects.toMatchObject({
        code: 'LogOverflow',
        message: expect.stringContaining('capture.maxLogRows'),
      });
      await cleanSource(migration.endpoints, migration.name);
      write(5);
      expect(
        migration.app
          .prepare(`SELECT name FROM sqlite_master WHERE name LIKE '\\_crossfade%' ESCAPE '\\'`)
          .all(),
      ).toEqual([]);
    } finally {
      await migration.dispose();
    }
  });
});
