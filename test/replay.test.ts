/** Replay: the target becomes what the source is, from any checkpoint, whatever the writes were and whenever they came. */
import { copyFileSync, renameSync, rmSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { DEFAULT_INPUT, type Policies } from '../src/contract.ts';
import { copyTables } from '../src/engine/copy.ts';
import { Replayer } from '../src/engine/replay.ts';
import { replayLoop } from '../src/engine/replay-loop.ts';
import { cleanSource } from '../src/engine/finish.ts';
import { verifyDatabases } from '../src/engine/verify.ts';
import { never, TestMigration } from './support/migration.ts';
import { seeded, type Random } from './support/random.ts';
import { differences } from './support/same.ts';
import { attack, type Target } from './support/workload.ts';

const SCHEMA = `
  CREATE TABLE many (id INTEGER PRIMARY KEY, a INT UNIQUE, b TEXT COLLATE NOCASE, c INT, d TEXT, UNIQUE (c DESC, d));
  CREATE UNIQUE INDEX many_partial ON many (d) WHERE c > 2;
  CREATE TABLE pair (k TEXT, n INTEGER, u INT UNIQUE, v TEXT COLLATE NOCASE UNIQUE, PRIMARY KEY (k, n)) WITHOUT ROWID;
  CREATE TABLE named (k TEXT NOT NULL PRIMARY KEY, u REAL, v TEXT UNIQUE);
  CREATE TABLE tree (
    id INTEGER PRIMARY KEY, parent INT REFERENCES tree ON DELETE CASCADE ON UPDATE CASCADE, u INT NOT NULL DEFAULT 0 UNIQUE);
  CREATE TABLE leaf (k TEXT NOT NULL UNIQUE, tree INT REFERENCES tree ON DELETE SET NULL ON UPDATE CASCADE, f BOOLEAN);
  CREATE TRIGGER app_spread AFTER INSERT ON many WHEN NEW.a < 3
    BEGIN INSERT OR IGNORE INTO named VALUES (NEW.d, NEW.a, NEW.c); UPDATE pair SET v = NEW.d WHERE u = NEW.c; END;
  CREATE TRIGGER app_ignore AFTER UPDATE ON named WHEN NEW.u = 4 BEGIN SELECT RAISE(IGNORE); END;
`;
const NUMBERS = ['NULL', ...Array.from({ length: 12 }, (_, i) => String(i))];
const TEXTS = ['NULL', `'a'`, `'A'`, `'b'`, `'ab'`, `''`, `'c'`, `'d'`];
const TARGETS: Target[] = [
  { table: 'many', columns: { id: NUMBERS, a: NUMBERS, b: TEXTS, c: NUMBERS, d: TEXTS } },
  { table: 'pair', columns: { k: TEXTS.slice(1), n: NUMBERS.slice(1), u: NUMBERS, v: TEXTS } },
  { table: 'named', columns: { k: TEXTS.slice(1), u: NUMBERS, v: TEXTS }, rowid: 'rowid' },
  { table: 'tree', columns: { id: NUMBERS, parent: NUMBERS, u: NUMBERS } },
  { table: 'leaf', columns: { k: TEXTS.slice(1), tree: NUMBERS, f: ['NULL', '0', '1'] }, rowid: 'rowid' },
];
const DROP: Policies = { ...DEFAULT_INPUT.policies, triggers: 'drop' };

const quarantined = async (migration: TestMigration): Promise<unknown[]> =>
  (await migration.target.query('SELECT table_id, key, reason FROM crossfade.quarantine')).rows;

async function expectSame(migration: TestMigration): Promise<void> {
  expect(await quarantined(migration)).toEqual([]);
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
}

/** Writes at every turn of the event loop until `work` is done. */
async function whileWriting<T>(migration: TestMigration, random: Random, work: Promise<T>): Promise<T> {
  let done = false;
  const ending = work.finally(() => {
    done = true;
  });
  while (!done) {
    attack(migration.app, random, TARGETS, 1 + random.below(20));
    await nextTurn();
  }
  return ending;
}

describe('replay beside everything else', () => {
  it('converges through copy, indexes and foreign keys while an application writes', async () => {
    const random = seeded('replay');
    const migration = await TestMigration.create(SCHEMA);
    const stop = new AbortController();
    try {
      migration.app.pragma('foreign_keys = ON');
      migration.app.pragma(`recursive_triggers = ${random.below(2)}`);
      attack(migration.app, random, TARGETS, 400);
      await migration.begin(DROP);
      const loop = replayLoop(
        { endpoints: migration.endpoints, signal: stop.signal, onProgress: () => undefined },
        migration.lease('replay'),
      );
      loop.catch(() => undefined);
      await whileWriting(
        migration,
        random,
        migration.copy({ batchRows: 2, batchBytes: 40, maxRowsPerSecond: 60 }),
      );
      const live = async (): Promise<void> => {
        while (
          (await migration.target.query(`SELECT 1 FROM crossfade.copied WHERE state <> 'live'`)).rowCount
        );
      };
      await whileWriting(migration, random, live());
      await whileWriting(migration, random, migration.index());
      expect(await whileWriting(migration, random, migration.verify())).toMatchObject({ equal: true });
      expect(await whileWriting(migration, random, migration.foreignKeys())).toBe(true);
      attack(migration.app, random, TARGETS, 200);
      stop.abort();
      expect(await loop).toBe('stopped');
      await migration.catchUp();
      await expectSame(migration);
    } finally {
      stop.abort();
      await migration.dispose();
    }
  });

  it('goes on from any checkpoint, also from one that it had passed already', async () => {
    const random = seeded('resume');
    const migration = await TestMigration.create(SCHEMA);
    try {
      migration.app.pragma('foreign_keys = ON');
      attack(migration.app, random, TARGETS, 200);
      await migration.begin(DROP);
      await migration.copy();
      await migration.catchUp();
      await migration.index();
      const passed: { position: string; token: string }[] = [];
      for (let round = 0; round < 6; round++) {
        const { rows } = await migration.target.query('SELECT position, token FROM crossfade.checkpoint');
        passed.push(rows[0] as (typeof passed)[0]);
        attack(migration.app, random, TARGETS, 60);
        // Another owner for every step; the one before just vanishes.
        const replayer = await Replayer.open(migration.endpoints, migration.lease('replay'));
        await replayer.step();
        replayer.db.close();
      }
      await expectSame(migration);
      for (const { position, token } of passed.reverse()) {
        await migration.target.query('UPDATE crossfade.checkpoint SET position = $1, token = $2', [
          position,
          token,
        ]);
        await migration.catchUp();
        await expectSame(migration);
      }
    } finally {
      await migration.dispose();
    }
  });

  it('works for a role that may not act as a replica; its foreign keys come after the cutover', async () => {
    const migration = await TestMigration.create(
      `CREATE TABLE p (id INTEGER PRIMARY KEY, v TEXT UNIQUE);
       CREATE TABLE c (id INTEGER PRIMARY KEY, p INT NOT NULL REFERENCES p ON DELETE CASCADE);
       INSERT INTO p VALUES (1, 'x'), (2, 'y'); INSERT INTO c VALUES (1, 1), (2, 2)`,
    );
    const role = `crossfade_test_${process.pid}`;
    const { targetUrl } = migration.endpoints;
    try {
      await migration.target.query(`CREATE ROLE ${role}`);
      await migration.target.query(
        `DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO ${role}', current_database()); END $$;
         GRANT ALL ON SCHEMA public TO ${role}`,
      );
      migration.endpoints.targetUrl = `${targetUrl}?options=-c%20role%3D${role}`;
      await migration.upToVerified();
      expect(await migration.foreignKeys()).toBe(false);
      migration.app.exec(
        `UPDATE p SET v = v || v; UPDATE p SET v = 'y' WHERE id = 1; DELETE FROM c WHERE id = 2`,
      );
      expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
      await expectSame(migration);
      expect(await migration.foreignKeys()).toBe(true);
      await migration.target.query('DELETE FROM p WHERE id = 1');
      await migration.reverseCatchUp();
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
      expect(migration.app.prepare('SELECT count(*) FROM c').pluck().get()).toBe(0);
    } finally {
      migration.endpoints.targetUrl = targetUrl;
      await migration.target.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`).catch(() => undefined);
      await migration.dispose();
    }
  });
});

describe('one batch', () => {
  let migration: TestMigration;

  beforeEach(async () => {
    migration = await TestMigration.create(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, u INT UNIQUE, v INT);
      CREATE TABLE two (x TEXT NOT NULL, y INT NOT NULL, v INT, PRIMARY KEY (x, y)) WITHOUT ROWID;
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 7000) INSERT INTO t SELECT i, i, 0 FROM n;
      INSERT INTO two VALUES ('a', 1, 0);
    `);
    await migration.begin();
  });

  afterEach(async () => {
    await migration.dispose();
  });

  /** The unique values of the first and the last rows change places; no end in the middle of the log can be applied alone. */
  const rotate = `UPDATE t SET u = -u; UPDATE t SET u = 7001 + u`;

  it('may be large, and may name a key often and in tables with keys of different lengths', async () => {
    await migration.copy();
    migration.app.exec(
      `UPDATE t SET v = 1 WHERE id < 4; UPDATE t SET v = 2 WHERE id < 3; UPDATE two SET v = 1; UPDATE two SET v = 2`,
    );
    migration.app.exec(
      `INSERT INTO two VALUES ('1', 1, 1); DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (3, 3, 3)`,
    );
    await migration.catchUp();
    await expectSame(migration);
    await migration.index();
    migration.app.exec(rotate);
    await migration.catchUp();
    await expectSame(migration);
  });

  it('does not end in the middle of the log once the target has unique indexes, whoever learns of them late', async () => {
    await migration.copy();
    await migration.catchUp();
    const replayer = await Replayer.open(migration.endpoints, migration.lease('replay'));
    try {
      await migration.index();
      migration.app.exec(rotate);
      do expect(await quarantined(migration)).toEqual([]);
      while ((await replayer.step()) > 0);
      await expectSame(migration);
    } finally {
      await replayer.close();
    }
  });

  it('takes up what changed in a table from the moment at which its copy began', async () => {
    let begun = (): void => undefined;
    const copying = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const copy = copyTables({
      endpoints: migration.endpoints,
      lease: migration.lease('copy'),
      tables: migration.plan.tables,
      settings: { ...DEFAULT_INPUT.copy, batchRows: 500, batchBytes: 1_000, maxRowsPerSecond: 14_000 },
      signal: never,
      onProgress: () => begun(),
    });
    await copying;
    // Rows that have been read, and rows that have not.
    migration.app.exec(`UPDATE t SET v = 1 WHERE id IN (1, 6999); DELETE FROM t WHERE id IN (2, 7000)`);
    // Replay passes the log's end before the table is copied.
    await migration.catchUp();
    await copy;
    await migration.catchUp();
    await expectSame(migration);
  });

  it('clears the quarantine of rows that the copy set aside while replay was running already', async () => {
    migration.app.exec(`UPDATE t SET v = 'text' WHERE id IN (5, 6)`);
    // No table is copied yet, so that these changes are passed over.
    await migration.catchUp();
    const replayer = await Replayer.open(migration.endpoints, migration.lease('replay'));
    try {
      await migration.copy();
      while ((await replayer.step()) > 0);
      expect(await quarantined(migration)).toHaveLength(2);
      migration.app.exec(`UPDATE t SET v = 5 WHERE id = 5; DELETE FROM t WHERE id = 6`);
      while ((await replayer.step()) > 0);
      await expectSame(migration);
    } finally {
      await replayer.close();
    }
  });

  it('leaves the children of a replaced parent alone', async () => {
    migration.app.exec(`DELETE FROM t WHERE id > 10`);
    await migration.copy();
    await migration.catchUp();
    await migration.target.query(
      `CREATE TABLE child (t bigint REFERENCES t ON DELETE CASCADE); INSERT INTO child VALUES (1)`,
    );
    migration.app.exec(`UPDATE t SET v = 9 WHERE id = 1`);
    await migration.catchUp();
    await expectSame(migration);
    expect((await migration.target.query('SELECT t FROM child')).rowCount).toBe(1);
  });
});

describe('a source that is not what it was', () => {
  let migration: TestMigration;
  const stop = new AbortController();
  const loop = (): Promise<unknown> =>
    replayLoop(
      { endpoints: migration.endpoints, signal: stop.signal, onProgress: () => undefined },
      migration.lease('replay'),
    );

  beforeEach(async () => {
    migration = await TestMigration.create(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1), (2, 2)`,
    );
    await migration.begin();
    await migration.copy();
    await migration.catchUp();
  });

  afterEach(async () => {
    await migration.dispose();
  });

  it('is recognised when it was restored, although its numbers recur', async () => {
    const { sourcePath } = migration.endpoints;
    migration.app.exec('UPDATE t SET v = v + 1');
    migration.app.pragma('wal_checkpoint(TRUNCATE)');
    copyFileSync(sourcePath, `${sourcePath}.old`);
    migration.app.exec('UPDATE t SET v = v + 1');
    await migration.catchUp();
    migration.app.close();
    renameSync(`${sourcePath}.old`, sourcePath);
    for (const suffix of ['-wal', '-shm']) rmSync(sourcePath + suffix, { force: true });
    const restored = new Database(sourcePath);
    restored.exec('UPDATE t SET v = v + 10; UPDATE t SET v = v + 10');
    restored.close();
    await expect(migration.catchUp()).rejects.toMatchObject({ code: 'LogDiscontinuity' });
    await expect(loop()).rejects.toMatchObject({ code: 'LogDiscontinuity' });
    // The way out that the message names.
    await cleanSource(migration.endpoints, migration.name);
  });

  it('is recognised when its file is replaced under a running replay', async () => {
    const running = loop();
    const { sourcePath } = migration.endpoints;
    migration.app.pragma('wal_checkpoint(TRUNCATE)');
    copyFileSync(sourcePath, `${sourcePath}.old`);
    renameSync(`${sourcePath}.old`, sourcePath);
    await expect(running).rejects.toMatchObject({ code: 'LogDiscontinuity' });
  });

  it.each([
    ['rebuilt', 'CREATE TABLE t2 (id INTEGER PRIMARY KEY, v INT); DROP TABLE t; ALTER TABLE t2 RENAME TO t'],
    ['given a column', 'ALTER TABLE t ADD COLUMN w'],
    ['given a newer trigger', 'CREATE TRIGGER late AFTER UPDATE ON t BEGIN SELECT RAISE(IGNORE); END'],
    ['joined by a new one', 'CREATE TABLE later (id INTEGER PRIMARY KEY)'],
  ])('is noticed when a table is %s', async (_, ddl) => {
    const running = loop();
    running.catch(() => undefined);
    migration.app.exec(ddl);
    await expect(running).rejects.toMatchObject({ code: 'SchemaChanged' });
  });

  it('is not compared any further than it goes', async () => {
    migration.app.exec('UPDATE t SET v = 7');
    // What is not applied yet is lag, not a difference; where nothing replays it is not equal either.
    expect(
      await verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 10, signal: never }),
    ).toMatchObject({ equal: false, mismatchCount: 0, undecided: 2 });
  });
});
