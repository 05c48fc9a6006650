/** Verification: under constant writes no false alarm, and no real difference missed. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type * as Encode from '../src/databases/sqlite/encode.ts';
import { eventually } from './support/eventually.ts';
import { TestMigration, never } from './support/migration.ts';
import { replayLoop, reverseLoop } from '../src/engine/replay-loop.ts';
import { stageFigures } from '../src/engine/traffic.ts';
import { Verifier, verifyDatabases } from '../src/engine/verify.ts';
import { verifyRecent } from '../src/engine/verify-step.ts';
import type { Verdict } from '../src/contract.ts';
import { type Random, seeded } from './support/random.ts';
import { tamper } from './support/tamper.ts';

/** An encoder that rounds doubles, as a careless one would; for the copy and the comparison alike. */
let careless = false;
jest.mock('../src/databases/sqlite/encode.ts', () => {
  const actual = jest.requireActual<typeof Encode>('../src/databases/sqlite/encode.ts');
  return {
    ...actual,
    rowSql: (...given: Parameters<typeof actual.rowSql>) => {
      const sql = actual.rowSql(...given);
      return careless ? sql.replaceAll('%!.17g', '%!.15g') : sql;
    },
  };
});

const COLUMNS = 'i INT, r REAL, t TEXT, b BLOB, f BOOLEAN, n DECIMAL(20, 6), d DATE, s DATETIME, j JSON';
const SCHEMA = `
  CREATE TABLE v (id INTEGER PRIMARY KEY, ${COLUMNS});
  CREATE TABLE pair (k TEXT NOT NULL, n INTEGER NOT NULL, v INT, PRIMARY KEY (k, n)) WITHOUT ROWID;
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
    INSERT INTO v SELECT i, i * 3, i / 7.0, 'text ' || i, x'00ff', i % 2, i / 4.0, '2024-01-01', '2024-01-01 00:00:00', '{"a": 1}' FROM n;
  INSERT INTO pair SELECT char(97 + id % 26), id, id FROM v;
`;

let migration: TestMigration;

afterEach(async () => {
  careless = false;
  await migration.dispose();
});

const tampered = (sql: string): Promise<void> => tamper(migration.target, ['v', 'pair'], sql);
const verify = (mode: 'full' | 'sample' = 'full', sampleRows = 20): Promise<Verdict> =>
  verifyDatabases({ ...migration.endpoints, mode, sampleRows, signal: never });
const found = (verdict: Verdict): string[] =>
  verdict.mismatches
    .map(({ table, key, kind, column }) => [table, key, kind, column].join(' ').trim())
    .sort();

/** Writes to a few hot rows at every turn, while `work` runs; rows of ids over 100 are left alone. */
async function whileHot<T>(random: Random, work: () => Promise<T>): Promise<T> {
  let done = false;
  const working = work().finally(() => {
    done = true;
  });
  let next = 10_000;
  while (!done) {
    const id = 1 + random.below(20);
    migration.app.exec(
      random
        .pick([
          `UPDATE v SET i = i + 1, t = t || '.' WHERE id = ${id}`,
          `DELETE FROM v WHERE id = ${id}`,
          `INSERT OR REPLACE INTO v (id, t) VALUES (${id}, 'back')`,
          `INSERT INTO v (id, t) VALUES (${++next}, 'new')`,
          `INSERT OR REPLACE INTO pair VALUES ('a', -${id}, ${next})`,
          `UPDATE pair SET n = n - 1 WHERE k = 'a' AND n = -${id}`,
        ])
        .replace('UPDATE pair', 'UPDATE OR REPLACE pair'),
    );
    await nextTurn();
  }
  return working;
}

describe('while the source is primary and busy', () => {
  let loop: Promise<unknown>;
  let stopping: AbortController;

  beforeEach(async () => {
    migration = await TestMigration.create(SCHEMA);
    await migration.upToVerified();
    stopping = new AbortController();
    loop = replayLoop(
      { endpoints: migration.endpoints, signal: stopping.signal, onProgress: () => undefined },
      migration.lease('replay'),
    );
    loop.catch(() => undefined);
  });

  afterEach(async () => {
    stopping.abort();
    expect(await loop).toBe('stopped');
  });

  it('gives no false alarm, in either mode, nor in the comparison of what changed', async () => {
    const random = seeded('verify');
    await whileHot(random, async () => {
      for (let round = 0; round < 4; round++) {
        expect(await verify()).toMatchObject({ equal: true, mismatches: [], quarantined: 0 });
        expect(await verify('sample', 200)).toMatchObject({ equal: true, mismatches: [] });
        expect(await verifyRecent(migration.endpoints, migration.lease('control'), never)).toMatchObject({
          mismatches: [],
        });
      }
      expect(await migration.verify()).toMatchObject({ equal: true });
    });
  });

  it('finds every difference of rows that nobody writes, down to the last bit, and names it', async () => {
    const random = seeded('verify differences');
    const changes: [string, string][] = [
      ['i', 'i + 1'],
      // The next double.
      ['r', `r + power(2, floor(log(2, r::numeric)) - 52)::float8`],
      ['t', `t || ' '`],
      ['t', `upper(t)`],
      ['t', `NULL`],
      ['b', `'\\x'`],
      ['b', `'\\x00fe'`],
      ['f', `NOT f`],
      ['n', `n + 0.000001`],
      ['d', `d + 1`],
      ['s', `s + interval '1 second'`],
      ['j', `'{"a":1}'`],
      ['j', `'{"a": 1.0}'`],
    ];
    const first = 101 + random.below(1_000);
    const stride = 1 + random.below(100);
    const expected: string[] = [];
    const sql = changes.map(([column, value], i) => {
      const id = first + i * stride;
      expected.push(`v ${id} different ${column}`);
      return `UPDATE v SET ${column} = ${value} WHERE id = ${id}`;
    });
    sql.push(
      `DELETE FROM v WHERE id = 3000`,
      `INSERT INTO v (id) VALUES (-7)`,
      `DELETE FROM pair WHERE (k, n) = ('b', 2601)`,
      `INSERT INTO pair VALUES ('zz', 1, 1), ('A', 2, 2)`,
    );
    expected.push(
      'v 3000 missing-on-secondary',
      'v -7 missing-on-primary',
      'pair b, 2601 missing-on-secondary',
      'pair zz, 1 missing-on-primary',
      'pair A, 2 missing-on-primary',
    );
    await tampered(sql.join(';'));
    await whileHot(random, async () => {
      const verdict = await verify();
      expect(verdict).toMatchObject({ equal: false, mismatchCount: expected.length });
      expect(found(verdict)).toEqual(expected.sort());
      expect(verdict.tables.map(({ equal }) => equal)).toEqual([false, false]);
      // Sampled, rows that are missing or too many are still found, one and all.
      const counted = found(await verify('sample', 1)).filter((line) => line.includes('missing'));
      expect(counted).toEqual(expected.filter((line) => line.includes('missing')).sort());
    });
  });

  it('finds a changed row by sampling, sooner or later', async () => {
    await tampered('UPDATE v SET i = -1 WHERE id % 3 = 0');
    const verdict = await verify('sample', 100);
    expect(verdict.equal).toBe(false);
    expect(verdict.mismatchCount).toBeGreaterThan(10);
    expect(verdict.mismatches[0]).toMatchObject({ kind: 'different', column: 'i', secondary: '-1' });
  });

  it('is not blinded by a row in quarantine', async () => {
    stopping.abort();
    await loop;
    migration.app.exec(`UPDATE v SET i = 'text' WHERE id = 200; UPDATE v SET t = 'new' WHERE id = 201`);
    await migration.catchUp();
    await tampered(`UPDATE v SET t = 'corrupt' WHERE id = 201`);
    const { mismatches } = await verifyRecent(migration.endpoints, migration.lease('control'), never);
    expect(mismatches).toEqual([
      expect.objectContaining({ key: '201', column: 't', primary: 'new', secondary: 'corrupt' }),
    ]);
  });
});

describe('without other traffic', () => {
  it('counts what differs, and keeps only the first, however much one side has too much or too little', async () => {
    migration = await TestMigration.create(
      'CREATE TABLE few (id INTEGER PRIMARY KEY, t TEXT); CREATE TABLE k (k PRIMARY KEY, t TEXT); INSERT INTO few VALUES (5000, 5000)',
    );
    await migration.upToVerified();
    await tamper(
      migration.target,
      ['few', 'k'],
      `INSERT INTO few SELECT i, i FROM generate_series(1, 9000) i WHERE i <> 5000; INSERT INTO k SELECT i, i FROM generate_series(1, 2500) i`,
    );
    const verdict = await verify('full', 1);
    expect(verdict).toMatchObject({ equal: false, rows: 1, mismatchCount: 8_999 + 2_500 });
    expect(verdict.mismatches).toHaveLength(20);
    expect(verdict.mismatches[0]).toEqual({
      table: 'few',
      key: '1',
      kind: 'missing-on-primary',
      secondary: 'id = 1, t = 1',
    });
  });

  it('shows long values around where they begin to differ, and of which class a value is where only that tells', async () => {
    migration = await TestMigration.create(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, long TEXT, mixed);
       INSERT INTO t VALUES (1, printf('%.200c', 'a') || '🙂b' || printf('%.200c', 'c'), 5), (2, '', '5'), (3, '', x'00'), (4, NULL, 0.5)`,
    );
    await migration.upToVerified();
    await tamper(
      migration.target,
      ['t'],
      `UPDATE t SET long = replace(long, '🙂b', '🙂d') WHERE id = 1; UPDATE t SET mixed = '5' WHERE id = 2;
       UPDATE t SET mixed = NULL WHERE id = 3; DELETE FROM t WHERE id = 4`,
    );
    const { mismatches } = await verify();
    expect(mismatches.map(({ column, primary, secondary }) => [column, primary, secondary])).toEqual([
      ['long', expect.stringMatching(/^…a+🙂bc+…$/), expect.stringMatching(/^…a+🙂dc+…$/)],
      ['mixed', `'5'`, '5'],
      ['mixed', `x'00'`, 'NULL'],
      [undefined, 'id = 4, long = NULL, mixed = 0.5', undefined],
    ]);
    expect(mismatches[0]!.primary!.length).toBeLessThanOrEqual(80);
  });

  it('looks at a sample by a way that does not share the encoder, so that the encoder’s error shows', async () => {
    migration = await TestMigration.create(
      `CREATE TABLE d (id INTEGER PRIMARY KEY, r REAL); INSERT INTO d VALUES (1, 0.1 + 0.2), (2, 0.5)`,
    );
    careless = true;
    await migration.begin();
    await migration.copy();
    await migration.catchUp();
    await migration.index();
    expect(await migration.verify()).toMatchObject({
      equal: false,
      mismatches: [
        {
          table: 'd',
          key: '1',
          kind: 'different',
          column: 'r',
          primary: '0.30000000000000004',
          secondary: '0.3',
        },
      ],
    });
  });

  it.each([
    ['9007199254740993', '9007199254740992'],
    ['9223372036854775807', '9223372036854775806'],
    ['0.1', '0.10000000000000000001'],
    ['-12.5', '-12.50000000000000000001'],
  ])(
    'tells numbers of NUMERIC columns apart that one double stands for, in a sample too: %s',
    async (value, other) => {
      migration = await TestMigration.create(
        `CREATE TABLE d (id INTEGER PRIMARY KEY, n NUMERIC); INSERT INTO d VALUES (1, ${value}), (2, 7), (3, 100.25), (4, 1e-20)`,
      );
      await migration.begin();
      await migration.copy();
      await migration.catchUp();
      await migration.index();
      expect(await migration.verify('sample')).toMatchObject({ equal: true });
      await migration.target.query('ALTER TABLE d DROP CONSTRAINT crossfade_n');
      await tamper(migration.target, ['d'], `UPDATE d SET n = ${other} WHERE id = 1`);
      for (const mode of ['sample', 'full'] as const) {
        expect((await migration.verify(mode)).mismatches).toMatchObject([
          { table: 'd', key: '1', kind: 'different', column: 'n', primary: value, secondary: other },
        ]);
      }
    },
  );

  it('measures a stage by probes until a router has registered, and by the routers from then on', async () => {
    migration = await TestMigration.create(SCHEMA);
    await migration.upToVerified();
    migration.app.exec('UPDATE v SET i = 0');
    await migration.catchUp();
    const probed = await stageFigures(migration.endpoints, 1_000);
    expect(probed).toMatchObject({
      judgedBy: 'probes',
      quarantined: 0,
      reads: { target: { count: 100, errors: 0 } },
    });
    expect(probed.reads.target.p95Ms).toBeGreaterThan(0);
    expect(probed.lagMs).toBeLessThan(60_000);
    const histogram = { 200: 7 };
    const report = {
      side: 'target',
      operation: 'read',
      count: 7,
      errors: 2,
      fallbacks: 1,
      dualWriteFailures: 0,
      histogram,
    };
    await migration.target.query('SELECT crossfade.report_traffic($1, $2)', [
      'router 1',
      JSON.stringify([report]),
    ]);
    await migration.target.query('SELECT crossfade.report_traffic($1, $2)', [
      'router 2',
      JSON.stringify([report]),
    ]);
    const measured = await stageFigures(migration.endpoints, 60_000);
    expect(measured).toMatchObject({
      judgedBy: 'routers',
      reads: { target: { count: 14, errors: 4 }, source: { count: 0 } },
    });
  });
});

describe('while the target is primary and busy', () => {
  it('waits for what has to go back, however long it takes', async () => {
    migration = await TestMigration.create(SCHEMA);
    await migration.upToVerified();
    await migration.cutOver();
    await migration.target.query(`UPDATE v SET t = 'late' WHERE id < 10; DELETE FROM pair WHERE n = 5`);
    await tampered(`UPDATE v SET t = 'corrupt' WHERE id = 500`);
    const verifying = verify();
    // It looks whether the log has been consumed.
    await eventually('verification waits for reverse replay', async () => {
      const { rowCount } = await migration.target.query(
        `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'crossfade verify' AND query LIKE '%seq <=%'`,
      );
      return rowCount === 1;
    });
    await migration.reverseCatchUp();
    const verdict = await verifying;
    expect(found(verdict)).toEqual(['v 500 different t']);
    expect(verdict.undecided).toBe(0);
  });

  it('goes on over a cutover', async () => {
    migration = await TestMigration.create(SCHEMA);
    await migration.upToVerified();
    const verifier = await Verifier.open(migration.endpoints, 'crossfade verify');
    try {
      await migration.cutOver();
      await migration.target.query(`UPDATE v SET t = 'new' WHERE id < 10`);
      await migration.reverseCatchUp();
      const options = { mode: 'full', sampleRows: 5 } as const;
      expect(await verifier.verify(options)).toMatchObject({ equal: true });
      await tampered(`UPDATE v SET t = 'corrupt' WHERE id = 500`);
      expect((await verifier.verify(options)).mismatches).toMatchObject([
        { primary: 'corrupt', secondary: 'text 500' },
      ]);
    } finally {
      await verifier.close();
    }
  });

  it('gives no false alarm, and misses no difference', async () => {
    migration = await TestMigration.create(SCHEMA);
    await migration.upToVerified();
    await migration.cutOver();
    const stopping = new AbortController();
    const loop = reverseLoop(
      { endpoints: migration.endpoints, signal: stopping.signal, onProgress: () => undefined },
      migration.lease('reverse'),
    );
    let done = false;
    const writing = (async () => {
      for (let i = 0; !done; i++)
        await migration.target.query(
          `UPDATE v SET i = i + 1 WHERE id IN (1, 2, 3); INSERT INTO pair VALUES ('hot', ${i}, 0); DELETE FROM pair WHERE k = 'hot' AND n = ${i - 2}`,
        );
    })();
    try {
      for (let round = 0; round < 3; round++)
        expect(await verify()).toMatchObject({ equal: true, mismatches: [] });
    } finally {
      done = true;
      await writing;
    }
    // Behind the back of capture, as a session that switches its triggers off would do it.
    await tampered(`UPDATE v SET t = 'corrupt' WHERE id = 500; DELETE FROM v WHERE id = 501`);
    const verdict = await verify();
    expect(found(verdict)).toEqual(['v 500 different t', 'v 501 missing-on-primary']);
    expect(verdict.mismatches[0]).toMatchObject({ primary: 'corrupt', secondary: 'text 500' });
    stopping.abort();
    expect(await loop).toBe('stopped');
  });
});
