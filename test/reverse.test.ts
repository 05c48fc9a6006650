/** The way back: what the target accepts after the cutover is in the source, exactly, before the source opens again. */
import { copyFileSync, rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import pg from 'pg';
import { DEFAULT_INPUT } from '../src/contract.ts';
import { readControl as readTargetControl } from '../src/databases/postgres/control.ts';
import { openSource } from '../src/databases/sqlite/connection.ts';
import { CONTROL_TABLE, holdLease, openAgainDurably, readControl } from '../src/databases/sqlite/control.ts';
import { finishMigration } from '../src/engine/finish.ts';
import { ReverseReplayer } from '../src/engine/reverse.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { TestMigration } from './support/migration.ts';
import { seeded } from './support/random.ts';
import { differences } from './support/same.ts';

const SCHEMA = `
  CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, u INT UNIQUE, v TEXT);
  CREATE TABLE pair (k TEXT, n INTEGER, v TEXT, PRIMARY KEY (k, n)) WITHOUT ROWID;
  CREATE TABLE child (id INTEGER PRIMARY KEY, t INT REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE);
  CREATE TABLE priced (id INTEGER PRIMARY KEY, price REAL CHECK (max(price, 0) > 0), state TEXT NOT NULL CHECK (typeof(state) = 'text' AND length(state) = 3));
  CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT);
  CREATE TRIGGER audited AFTER UPDATE ON t BEGIN INSERT INTO audit (what) VALUES (OLD.v || ' > ' || NEW.v); END;
  CREATE TRIGGER refusing BEFORE DELETE ON pair WHEN OLD.k = 'kept' BEGIN SELECT RAISE(IGNORE); END;
  INSERT INTO t (u, v) VALUES (1, 'a'), (2, 'b'), (3, 'c'); INSERT INTO pair VALUES ('x', 1, 'p'), ('kept', 2, 'q');
  INSERT INTO child VALUES (1, 1), (2, 2); INSERT INTO priced VALUES (1, 1.5, 'new');
`;

/** A migration whose target is primary. */
async function moved(schema: string): Promise<TestMigration> {
  const migration = await TestMigration.create(schema);
  await migration.begin({ ...DEFAULT_INPUT.policies, triggers: 'drop' });
  await migration.copy();
  await migration.catchUp();
  await migration.index();
  await migration.verify();
  await migration.foreignKeys();
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
  return migration;
}

let migration: TestMigration;
const clients: pg.Client[] = [];

async function client(): Promise<pg.Client> {
  const connected = new pg.Client({ connectionString: migration.endpoints.targetUrl });
  connected.on('error', () => undefined);
  await connected.connect();
  clients.push(connected);
  return connected;
}

afterEach(async () => {
  jest.restoreAllMocks();
  for (const connected of clients.splice(0)) await connected.end();
  await migration.dispose();
});

async function expectSame(): Promise<void> {
  expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
}

const back = (maxPauseMs = 5_000) =>
  moveWritesBack({ endpoints: migration.endpoints, lease: migration.lease('reverse'), maxPauseMs });
const logged = async (): Promise<number> =>
  (await migration.target.query('SELECT 1 FROM crossfade.log')).rowCount!;

describe('reverse replay', () => {
  beforeEach(async () => {
    migration = await moved(SCHEMA);
  });

  it('misses no transaction that commits out of order', async () => {
    const [early, late] = [await client(), await client()];
    await early.query(`BEGIN; UPDATE t SET v = 'early' WHERE id = 1`);
    await late.query(`UPDATE t SET v = 'late' WHERE id = 2`);
    await migration.reverseCatchUp();
    expect(migration.app.prepare('SELECT v FROM t ORDER BY id').pluck().all()).toEqual(['a', 'late', 'c']);
    await late.query(`UPDATE t SET v = 'later' WHERE id = 2`);
    await migration.reverseCatchUp();
    await early.query('COMMIT');
    await migration.reverseCatchUp();
    expect(migration.app.prepare('SELECT v FROM t ORDER BY id').pluck().all()).toEqual([
      'early',
      'later',
      'c',
    ]);
    expect(await logged()).toBe(0);
    await expectSame();
  });

  it('follows TRUNCATE, cascades, changed keys, and unique values that change places', async () => {
    for (const sql of [
      `TRUNCATE t CASCADE`,
      `INSERT INTO t (id, u, v) SELECT i, i, 'n' FROM generate_series(1, 3000) i`,
      `UPDATE t SET u = -u; UPDATE t SET u = 3001 + u; UPDATE t SET id = id + 3000`,
      `INSERT INTO child SELECT id, id FROM t WHERE id % 7 = 0; UPDATE t SET id = -id WHERE id % 14 = 0; DELETE FROM t WHERE id % 21 = 0`,
      `BEGIN; TRUNCATE pair; INSERT INTO pair VALUES ('after', 1, NULL); ROLLBACK`,
      `BEGIN; INSERT INTO pair VALUES ('before', 1, NULL); TRUNCATE pair; INSERT INTO pair VALUES ('after', 2, NULL); COMMIT`,
      `UPDATE pair SET k = 'AFTER'; INSERT INTO pair VALUES ('after', 2, ''), ('after', 3, '')`,
    ]) {
      await migration.target.query(sql);
      await migration.reverseCatchUp();
      await expectSame();
    }
  });

  it('converges under random transactions of several connections', async () => {
    const random = seeded('reverse');
    const statements = [
      () =>
        `INSERT INTO t (u, v) VALUES (${random.below(12)}, 'i') ON CONFLICT (u) DO UPDATE SET v = t.v || 'u'`,
      () => `UPDATE t SET u = NULL WHERE id % 3 = ${random.below(3)}`,
      () => `UPDATE t SET id = id + 100 WHERE id = ${random.below(30)}`,
      () => `DELETE FROM t WHERE id % 5 = ${random.below(5)}`,
      () => `INSERT INTO child (t) SELECT id FROM t LIMIT ${random.below(3)}`,
      () =>
        `INSERT INTO pair VALUES ('${random.pick(['a', 'A', 'é', ''])}', ${random.below(4)}, 'x') ON CONFLICT DO NOTHING`,
      () => `UPDATE pair SET n = n + 1 WHERE k = '${random.pick(['a', 'A'])}'`,
      () => `DELETE FROM pair WHERE n = ${random.below(6)}`,
      () => random.pick([`TRUNCATE child`, `DELETE FROM child`]),
    ];
    let writing = true;
    const writers = [1, 2, 3].map(async () => {
      const connection = await client();
      for (let i = 0; i < 60; i++) {
        await connection.query(`BEGIN ISOLATION LEVEL ${random.pick(['READ COMMITTED', 'REPEATABLE READ'])}`);
        try {
          for (let n = 0; n <= random.below(3); n++) await connection.query(random.pick(statements)());
          await connection.query(random.chance(0.2) ? 'ROLLBACK' : 'COMMIT');
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(/^(23|40)/);
          await connection.query('ROLLBACK');
        }
      }
    });
    const following = (async () => {
      while (writing) await migration.reverseCatchUp();
    })();
    await Promise.all(writers);
    writing = false;
    await following;
    await migration.reverseCatchUp();
    await expectSame();
    expect(await back()).toMatchObject({ outcome: 'moved', epoch: 3 });
  });

  it('keeps the application’s triggers away from what comes back, and gives them back with the writes', async () => {
    await migration.target.query(`UPDATE t SET v = 'x'; DELETE FROM pair WHERE k = 'kept'`);
    await migration.reverseCatchUp();
    expect(migration.app.prepare('SELECT count(*) FROM audit').pluck().get()).toBe(0);
    await expectSame();
    await back();
    migration.app.exec(
      `UPDATE t SET v = 'y' WHERE id = 1; INSERT INTO pair VALUES ('kept', 9, ''); DELETE FROM pair`,
    );
    expect(migration.app.prepare('SELECT what FROM audit').pluck().all()).toEqual(['x > y']);
    expect(migration.app.prepare('SELECT k FROM pair').pluck().all()).toEqual(['kept']);
  });

  it('holds back no row silently: what the source refuses blocks the way back until it is mended', async () => {
    await migration.target.query(
      `INSERT INTO priced VALUES (2, -1, 'new'), (3, 3, 'new'); UPDATE priced SET state = 'strange' WHERE id = 1`,
    );
    await migration.reverseCatchUp();
    const { rows } = await migration.target.query(
      'SELECT key, reason FROM crossfade.quarantine ORDER BY key',
    );
    expect(rows).toEqual([
      { key: '["i:1"]', reason: expect.stringContaining('CHECK') },
      { key: '["i:2"]', reason: expect.stringContaining('CHECK') },
    ]);
    expect(migration.app.prepare('SELECT id FROM priced').pluck().all()).toEqual([3]);
    expect(await back()).toMatchObject({
      outcome: 'returned',
      reason: expect.stringMatching(/table "priced", key 1/),
    });
    await migration.target.query(
      `UPDATE priced SET state = 'old' WHERE id = 1; DELETE FROM priced WHERE id = 2`,
    );
    expect(await back()).toMatchObject({ outcome: 'moved' });
    await expectSame();
    expect(migration.app.prepare('SELECT id FROM priced').pluck().all()).toEqual([1, 3]);
  });

  it('repeats a batch whose note was lost, and compares everything where one side is not what it was', async () => {
    const consume = jest.spyOn(
      ReverseReplayer.prototype as unknown as { consume(): Promise<void> },
      'consume',
    );
    const stageWhole = jest.spyOn(
      ReverseReplayer.prototype as unknown as { stageWholeTable(): Promise<void> },
      'stageWholeTable',
    );
    await migration.target.query(`UPDATE t SET v = 'first'`);
    for (let i = 0; i < 2; i++) {
      consume.mockRejectedValueOnce(new Error('the worker died'));
      await expect(migration.reverseCatchUp()).rejects.toThrow('died');
    }
    await migration.reverseCatchUp();
    expect(await logged()).toBe(0);
    expect(stageWhole).not.toHaveBeenCalled();
    await expectSame();

    // A backup of the source comes back that lacks what has been consumed since.
    const { sourcePath } = migration.endpoints;
    migration.app.pragma('wal_checkpoint(TRUNCATE)');
    copyFileSync(sourcePath, `${sourcePath}.old`);
    await migration.target.query(`UPDATE t SET v = 'second'; INSERT INTO pair VALUES ('new', 1, '')`);
    await migration.reverseCatchUp();
    migration.app.close();
    copyFileSync(`${sourcePath}.old`, sourcePath);
    for (const suffix of ['-wal', '-shm']) rmSync(sourcePath + suffix, { force: true });
    (migration as { app: Database.Database }).app = new Database(sourcePath);
    expect(migration.app.prepare('SELECT v FROM t WHERE id = 1').pluck().get()).toBe('first');
    await migration.reverseCatchUp();
    expect(stageWhole).toHaveBeenCalled();
    await expectSame();

    // The target fails over to a server that lacks the last transaction and its note.
    const { rows } = await migration.target.query(`SELECT reverse_token AS token FROM crossfade.checkpoint`);
    await migration.target.query(
      `INSERT INTO pair VALUES ('lost', 1, ''); UPDATE t SET v = 'third' WHERE id = 2`,
    );
    await migration.reverseCatchUp();
    await migration.reverseCatchUp();
    await migration.target.query(`UPDATE t SET v = 'fourth' WHERE id = 3`);
    await migration.reverseCatchUp();
    await migration.target.query(`SET crossfade.lease = 'hidden from capture'`);
    await migration.target.query(`DELETE FROM pair WHERE k = 'lost'; UPDATE t SET v = 'second'`);
    await migration.target.query(`RESET crossfade.lease`);
    await migration.target.query(`UPDATE crossfade.checkpoint SET reverse_token = $1`, [rows[0].token]);
    await migration.reverseCatchUp();
    await expectSame();
  });
});

describe('DDL on the target', () => {
  beforeEach(async () => {
    migration = await moved(SCHEMA);
  });

  const mend = async (): Promise<string[]> => {
    const replayer = await ReverseReplayer.open(migration.endpoints, migration.lease('reverse'));
    try {
      const mended = await replayer.mend();
      while ((await replayer.step()) > 0);
      return mended;
    } finally {
      await replayer.close();
    }
  };

  it('that loses our triggers loses no write: they come back, and the table is compared', async () => {
    expect(await mend()).toEqual([]);
    await migration.target.query(`ALTER TABLE t DISABLE TRIGGER ALL; UPDATE t SET v = 'unlogged'`);
    await migration.target.query(
      `CREATE TABLE rebuilt (LIKE pair INCLUDING ALL); INSERT INTO rebuilt SELECT * FROM pair; DROP TABLE pair;
       ALTER TABLE rebuilt RENAME TO pair; INSERT INTO pair VALUES ('unlogged', 1, '')`,
    );
    expect((await mend()).sort()).toEqual(['pair', 't']);
    await expectSame();
    expect(await mend()).toEqual([]);
    await migration.target.query(`UPDATE pair SET v = 'logged'`);
    expect(await logged()).toBeGreaterThan(0);
    // Without mending, the way back mends by itself.
    await migration.target.query(`ALTER TABLE t DISABLE TRIGGER ALL; UPDATE t SET v = 'unlogged again'`);
    expect(await back()).toMatchObject({ outcome: 'moved' });
    await expectSame();
  });

  it('that adds what the source cannot hold stands against the way back until it is undone', async () => {
    for (const [change, undo, named] of [
      [
        'ALTER TABLE t ADD COLUMN w text',
        'ALTER TABLE t DROP COLUMN w',
        /column "w" of table "t" is unknown/,
      ],
      ['CREATE TABLE later (id int)', 'DROP TABLE later', /of table "later" is unknown/],
      [
        'ALTER TABLE t ALTER u TYPE int',
        'ALTER TABLE t ALTER u TYPE bigint',
        /column "u" of table "t" has another type/,
      ],
    ] as const) {
      await migration.target.query(change);
      await expect(back()).rejects.toMatchObject({
        code: 'SchemaChanged',
        message: expect.stringMatching(named),
      });
      expect(await readTargetControl(migration.target)).toMatchObject({ state: 'open', epoch: 2 });
      await migration.target.query(undo);
    }
    expect(await back()).toMatchObject({ outcome: 'moved' });
  });
});

describe('moving the writes back', () => {
  beforeEach(async () => {
    migration = await moved(SCHEMA);
  });

  it('completes under load and loses nothing that was acknowledged', async () => {
    let [stop, accepted, refused] = [false, 0, 0];
    const writers = [1, 2].map(async (i) => {
      const connection = await client();
      while (!stop) {
        try {
          await connection.query(`INSERT INTO pair VALUES ($1, $2, 'load')`, [`writer ${i}`, accepted]);
          accepted++;
        } catch (error) {
          expect((error as { code?: string }).code).toBe('CF001');
          refused++;
        }
      }
    });
    const report = await back();
    stop = true;
    await Promise.all(writers);
    expect(report).toMatchObject({ outcome: 'moved', epoch: 3 });
    expect(report.pauseMs).toBeLessThan(5_000);
    expect(refused).toBeGreaterThan(0);
    expect(migration.app.prepare(`SELECT count(*) FROM pair WHERE v = 'load'`).pluck().get()).toBe(accepted);
    await expectSame();
    migration.app.exec(`INSERT INTO t (v) VALUES ('on the source')`);
  });

  it('returns where a transaction does not end, within its time, and succeeds later', async () => {
    const writer = await client();
    await writer.query(`BEGIN; UPDATE t SET v = 'long' WHERE id = 1`);
    const started = performance.now();
    expect(await back(800)).toMatchObject({
      outcome: 'returned',
      reason: expect.stringContaining('lock timeout'),
    });
    expect(performance.now() - started).toBeLessThan(5_000);
    expect(await readTargetControl(migration.target)).toMatchObject({
      state: 'open',
      epoch: 2,
      fenceToken: null,
    });
    await migration.target.query(`UPDATE t SET v = 'meanwhile' WHERE id = 2`);
    await writer.query('COMMIT');
    expect(await back()).toMatchObject({ outcome: 'moved', epoch: 3 });
    await expectSame();
  });

  it('returns where a write slips in after the deadline, also if the clock is set back then', async () => {
    for (const afterwards of [`deadline`, `clock_timestamp() + interval '1 minute'`]) {
      const original = ReverseReplayer.prototype.step;
      let slipped = false;
      jest.spyOn(ReverseReplayer.prototype, 'step').mockImplementation(async function (
        this: ReverseReplayer,
      ) {
        const applied = await original.apply(this);
        const fencing = (await readTargetControl(migration.target))?.state === 'fencing';
        if (applied === 0 && fencing && !slipped) {
          slipped = true;
          await migration.target.query(`UPDATE crossfade.control SET deadline = clock_timestamp()`);
          await migration.target.query(`INSERT INTO pair VALUES ('slipped', $1, '')`, [afterwards.length]);
          await migration.target.query(`UPDATE crossfade.control SET deadline = ${afterwards}`);
        }
        return applied;
      });
      expect(await back()).toMatchObject({
        outcome: 'returned',
        reason: expect.stringMatching(/accepted before the commit point/),
      });
      jest.restoreAllMocks();
      await migration.target.query(`UPDATE t SET v = 'goes on'`);
    }
    expect(await back()).toMatchObject({ outcome: 'moved' });
    await expectSame();
    expect(migration.app.prepare(`SELECT count(*) FROM pair WHERE k = 'slipped'`).pluck().get()).toBe(2);
  });

  it('is finished by whoever comes after a crash, and may be repeated', async () => {
    await migration.target.query(`UPDATE t SET v = 'last' WHERE id = 1`);
    await migration.reverseCatchUp();
    // It dies between the commit point and the opening.
    await migration.target.query(`UPDATE crossfade.control SET state = 'moved', epoch = 3`);
    expect(() => migration.app.exec(`DELETE FROM t`)).toThrow(/crossfade: fenced/);
    expect(await back()).toMatchObject({ outcome: 'moved', epoch: 3 });
    expect(await back()).toMatchObject({
      outcome: 'moved',
      epoch: 3,
      reason: expect.stringContaining('moved back to the source before'),
    });
    const db = openSource(migration.endpoints.sourcePath, 'write');
    expect(openAgainDurably(db, migration.name, 3)).toBe(true);
    expect(openAgainDurably(db, migration.name, 4)).toBe(false);
    db.close();
    migration.app.exec(`UPDATE t SET v = 'goes on' WHERE id = 2`);
    expect(readControl(migration.app)).toMatchObject({ state: 'open', epoch: 3 });
  });

  it('ends with the read-only marker that finish leaves, and not after it', async () => {
    await migration.target.query(`UPDATE t SET v = 'last' WHERE id = 1`);
    const reader = await client();
    await reader.query(`BEGIN; SELECT * FROM pair`);
    const finishing = finishMigration(migration.endpoints, migration.lease('reverse'), 'fenced');
    // A reader holds one table's triggers up; writers do not wait behind it for long.
    while ((await readTargetControl(migration.target))?.finished !== true);
    for (let i = 0; i < 5; i++)
      await migration.target.query(`INSERT INTO pair VALUES ('while finishing', ${i}, '')`);
    await reader.query('COMMIT');
    await finishing;
    const { rows } = await migration.target.query(
      `SELECT tgname FROM pg_trigger WHERE tgname LIKE '%crossfade%'`,
    );
    expect(rows).toEqual([]);
    expect(migration.app.prepare('SELECT v FROM t WHERE id = 1').pluck().get()).toBe('last');
    await expect(back()).rejects.toMatchObject({ code: 'RollbackImpossible' });
    await finishMigration(migration.endpoints, migration.lease('reverse'), 'free');
    migration.app.exec(`UPDATE t SET v = 'free'`);
    const left = `SELECT count(*) FROM sqlite_master WHERE name LIKE '\\_crossfade%' ESCAPE '\\'`;
    expect(migration.app.prepare(left).pluck().get()).toBe(0);
  });
});

describe('an abort before the commit point', () => {
  it('takes the cutover that may still be under way its right to commit', async () => {
    migration = await TestMigration.create(SCHEMA);
    await migration.begin({ ...DEFAULT_INPUT.policies, triggers: 'drop' });
    const db = openSource(migration.endpoints.sourcePath, 'write');
    const zombie = migration.lease('control');
    db.exec(
      `UPDATE _crossfade_lease SET ordinal = ${zombie.ordinal}, holder = '${zombie.holder}' WHERE role = 'control';
       UPDATE ${CONTROL_TABLE} SET state = 'fencing', fence_token = 'zombie', deadline = 9e15`,
    );
    expect(await back()).toMatchObject({
      outcome: 'moved',
      epoch: 1,
      reason: 'the writes never left the source',
    });
    expect(readControl(db)).toMatchObject({ state: 'open', fenceToken: null });
    expect(() => holdLease(db, zombie)).toThrow(/another owner/);
    migration.app.exec(`UPDATE t SET v = 'goes on'`);
    db.close();
  });
});

describe('every value', () => {
  it('comes back with the bytes and the storage class that it had', async () => {
    const random = seeded('round trip');
    const columns =
      'i INT, r REAL, t TEXT, b BLOB, f BOOLEAN, n DECIMAL(20, 6), d DATE, s DATETIME, j JSON, m NUMERIC, u, w BLOB';
    migration = await TestMigration.create(`CREATE TABLE v (id INTEGER PRIMARY KEY, ${columns})`);
    const insert = migration.app.prepare(`INSERT INTO v VALUES (${Array(13).fill('?').join()})`);
    const real = (): number => {
      const value = random.bytes(8).readDoubleBE();
      return Number.isNaN(value) ? -0 : value;
    };
    for (let id = 1; id <= 300; id++) {
      const or = <T>(value: T): T | null => (random.chance(0.1) ? null : value);
      insert.run(
        id,
        or(random.bytes(8).readBigInt64BE()),
        or(random.pick([real(), 0, -0, Infinity, -Infinity, 5, 2 ** 53, 1e308])),
        or(random.pick(['', '0', '1e3', '\\N', 'a\tb\nc\\', '\u0001\u007f', '漢字 🎉', ' 5 '])),
        or(random.bytes(random.below(9))),
        or(BigInt(random.below(2))),
        or(random.pick([5n, -7n, 0n, 2n ** 62n, 1.5, 0.1, -123456.789, 1e-7])),
        or(`20${10 + random.below(80)}-0${1 + random.below(9)}-2${random.below(9)}`),
        or(`0${1 + random.below(8)}00-01-01 0${random.below(9)}:00:59`),
        or(random.pick(['{"b":1, "a":[1.0]}', '"x"', 'null', '[1e2]'])),
        or(random.pick([0.1 + 0.2, 1 / 3, 3n, -4n, 2n ** 53n, 1e300])),
        or(random.pick([real(), 5, -0, Infinity])),
        or(random.bytes(3)),
      );
    }
    const dump = (): unknown =>
      migration.app
        .prepare(
          `SELECT id, ${columns
            .split(', ')
            .filter((column) => !column.startsWith('6)'))
            .map((column) => column.split(' ')[0]!)
            .map(
              (name) =>
                `typeof(${name}), iif(typeof(${name}) = 'real', format('%!.17g', ${name}), hex(${name})), ${name} = 0 AND atan2(${name}, -1.0) < 0`,
            )
            .join(', ')} FROM v ORDER BY id`,
        )
        .raw()
        .all();
    const before = dump();
    await migration.upToVerified();
    await migration.cutOver();
    await migration.target.query(`UPDATE v SET id = id`);
    await migration.reverseCatchUp();
    expect(dump()).toEqual(before);
    // And by the way of a whole table.
    migration.app.pragma('ignore_check_constraints = 1');
    await migration.target.query(`INSERT INTO crossfade.log (table_id, key) VALUES (1, NULL)`);
    await migration.reverseCatchUp();
    expect(dump()).toEqual(before);
    expect((await migration.target.query('SELECT 1 FROM crossfade.quarantine')).rowCount).toBe(0);
  });

  it('that could not come back is refused by the target', async () => {
    migration = await moved(
      `CREATE TABLE v (id INTEGER PRIMARY KEY, r REAL, n DECIMAL(9, 2), d DATE, s DATETIME, x VARNUMERIC);
       INSERT INTO v VALUES (1, 1.5, 1.5, '2024-01-01', '2024-01-01 00:00:00', 'text')`,
    );
    for (const bad of [
      `UPDATE v SET r = 'NaN'`,
      `UPDATE v SET n = 'NaN'`,
      `UPDATE v SET n = 0.12345678901234567890`,
      `UPDATE v SET n = 9223372036854775808`,
      `UPDATE v SET s = '2024-01-01 00:00:00.5'`,
      `UPDATE v SET s = 'infinity'`,
      `UPDATE v SET d = '-infinity'`,
      `UPDATE v SET d = '0001-01-01 BC'`,
      `UPDATE v SET x = ' 12e3 '`,
    ]) {
      await expect(migration.target.query(bad)).rejects.toMatchObject({ code: '23514' });
    }
    await migration.target.query(`UPDATE v SET n = 7.00; UPDATE v SET n = '9007199254740993.0'`);
    await migration.reverseCatchUp();
    expect(migration.app.prepare('SELECT n FROM v').safeIntegers().pluck().get()).toBe(9007199254740993n);
  });
});
