/** Repair: whatever row of the secondary was changed, lost or added, of whatever key, is the primary's again. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { finishMigration } from '../src/engine/finish.ts';
import { replayLoop, reverseLoop } from '../src/engine/replay-loop.ts';
import { verifyDatabases } from '../src/engine/verify.ts';
import type { Verdict } from '../src/contract.ts';
import { TestMigration } from './support/migration.ts';
import { differences } from './support/same.ts';
import { tamper } from './support/tamper.ts';

const SCHEMA = `
  CREATE TABLE num (id INTEGER PRIMARY KEY, v TEXT, u INT UNIQUE);
  CREATE TABLE word (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID;
  CREATE TABLE pair (a TEXT NOT NULL, b INT NOT NULL, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
  CREATE TABLE bytes (k BLOB PRIMARY KEY, v TEXT);
  CREATE TABLE loose (k PRIMARY KEY, v TEXT);
  CREATE TABLE folded (name TEXT COLLATE NOCASE PRIMARY KEY, v TEXT) WITHOUT ROWID;
  CREATE TABLE keyless (n INT, v TEXT);
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO num SELECT i, 'v' || i, i FROM n;
  INSERT INTO word SELECT 'w' || id, v FROM num;
  INSERT INTO pair SELECT 'p' || id % 3, id, v FROM num;
  INSERT INTO bytes SELECT CAST('b' || id AS BLOB), v FROM num;
  INSERT INTO loose SELECT CASE id % 3 WHEN 0 THEN id WHEN 1 THEN 't' || id ELSE CAST(id AS BLOB) END, v FROM num;
  INSERT INTO folded SELECT CASE id % 2 WHEN 0 THEN 'Name' ELSE 'name' END || id, v FROM num;
  INSERT INTO keyless SELECT id, v FROM num;
`;
const TABLES = ['num', 'word', 'pair', 'bytes', 'loose', 'folded', 'keyless'];

/** Of every table one row changed, one lost, one added; live writes leave them alone. */
const DAMAGE = `
  UPDATE num SET v = 'x' WHERE id = 30; DELETE FROM num WHERE id = 31; INSERT INTO num VALUES (1000, 'x', 31);
  UPDATE word SET v = 'x' WHERE k = 'w30'; DELETE FROM word WHERE k = 'w31'; INSERT INTO word VALUES ('zz', 'x');
  UPDATE pair SET v = 'x' WHERE b = 30; DELETE FROM pair WHERE b = 31; INSERT INTO pair VALUES ('', 0, 'x');
  UPDATE bytes SET v = 'x' WHERE k = 'b30'; DELETE FROM bytes WHERE k = 'b31'; INSERT INTO bytes VALUES ('\\x00', 'x');
  UPDATE loose SET v = 'x' WHERE k = '30'; DELETE FROM loose WHERE k = 't31'; INSERT INTO loose VALUES ('\\x00', 'x'), ('\\s5', 'x');
  UPDATE folded SET v = 'x' WHERE name = 'Name30'; UPDATE folded SET name = 'NAME31' WHERE name = 'name31';
  UPDATE keyless SET v = 'x' WHERE n = 30; DELETE FROM keyless WHERE n = 31; INSERT INTO keyless (n, v, _crossfade_rowid) VALUES (1000, 'x', 1000);
`;
/** Rows: three of each table, one more of loose; of folded one that is there under another key. */
const DAMAGED = 3 * 7 + 1;

let migration: TestMigration;
let stopping: AbortController;
let loop: Promise<unknown> | undefined;

beforeEach(async () => {
  migration = await TestMigration.create(SCHEMA);
  stopping = new AbortController();
  await migration.upToVerified();
});
afterEach(async () => {
  stopping.abort();
  await loop;
  loop = undefined;
  await migration.dispose();
});

function follow(start: typeof replayLoop | typeof reverseLoop, role: 'replay' | 'reverse'): void {
  const options = { endpoints: migration.endpoints, signal: stopping.signal, onProgress: () => undefined };
  loop = start(options, migration.lease(role) as never);
  loop.catch(() => undefined);
}
const verify = (repair = false): Promise<Verdict> =>
  verifyDatabases({ ...migration.endpoints, mode: 'full', sampleRows: 5, repair, graceMs: 300 });
const found = (): Promise<string[]> => differences(migration.app, migration.target, migration.plan);

/** Runs `work` while rows up to 20 change all the time. */
async function whileWritten<T>(write: (i: number) => unknown, work: () => Promise<T>): Promise<T> {
  let done = false;
  const working = work().finally(() => (done = true));
  for (let i = 0; !done; i++) {
    await write(1 + (i % 20));
    await nextTurn();
  }
  return working;
}

it('heals the target while the source takes writes, and says what it healed', async () => {
  follow(replayLoop, 'replay');
  await tamper(migration.target, TABLES, DAMAGE);
  const before = await verify();
  expect(before).toMatchObject({ equal: false, mismatchCount: DAMAGED });
  expect(before.healedCount).toBeUndefined();
  const rows = migration.app.prepare('SELECT count(*) FROM _crossfade_log').pluck();
  const verdict = await whileWritten(
    (i) =>
      migration.app.exec(
        `UPDATE num SET v = v || '.' WHERE id = ${i}; UPDATE loose SET v = v || '.' WHERE k = 't${i}'; UPDATE keyless SET v = v || '.' WHERE n = ${i}`,
      ),
    () => verify(true),
  );
  expect(verdict).toMatchObject({ equal: true, mismatchCount: 0, quarantined: 0, healedCount: DAMAGED });
  expect(verdict.healed).toHaveLength(20);
  expect(verdict.healed).toContainEqual({
    table: 'bytes',
    key: '623330',
    kind: 'different',
    column: 'v',
    primary: 'v30',
    secondary: 'x',
  });
  expect(rows.get()).toBeGreaterThan(DAMAGED);
  stopping.abort();
  await loop;
  await migration.catchUp();
  expect(await found()).toEqual([]);
});

it('heals the source while the target takes writes', async () => {
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
  follow(reverseLoop, 'reverse');
  await tamper(migration.target, TABLES, DAMAGE);
  await migration.target.query(
    `SELECT setval(pg_get_serial_sequence('num', 'id'), 1000), setval(pg_get_serial_sequence('keyless', '_crossfade_rowid'), 1000)`,
  );
  migration.app.exec(`UPDATE _crossfade_control SET applying = 1; UPDATE word SET v = 'y' WHERE k = 'w35';
    INSERT INTO word VALUES ('yy', 'y'); UPDATE _crossfade_control SET applying = 0`);
  const verdict = await whileWritten(
    (i) =>
      migration.target.query(
        `UPDATE num SET v = v || '.' WHERE id = ${i}; UPDATE loose SET v = v || '.' WHERE k = 't${i}'`,
      ),
    () => verify(true),
  );
  expect(verdict).toMatchObject({ equal: true, mismatchCount: 0, quarantined: 0, healedCount: DAMAGED + 2 });
  stopping.abort();
  await loop;
  await migration.reverseCatchUp();
  expect(await found()).toEqual([]);
  // The primary's rows are as they were.
  const { rows } = await migration.target.query(
    `SELECT v FROM word WHERE k IN ('w30', 'zz', 'w35') ORDER BY k`,
  );
  expect(rows).toEqual([{ v: 'x' }, { v: 'v35' }, { v: 'x' }]);
});

it('tells what it cannot heal', async () => {
  follow(replayLoop, 'replay');
  migration.app.exec(`UPDATE num SET u = 'no number' WHERE id = 35`);
  await tamper(migration.target, TABLES, `DELETE FROM num WHERE id = 36`);
  expect(await verify(true)).toMatchObject({
    equal: false,
    quarantined: 1,
    mismatchCount: 0,
    healedCount: 1,
  });
});

it('is refused where nothing would write the rows', async () => {
  await tamper(migration.target, TABLES, DAMAGE);
  await expect(verify(true)).rejects.toMatchObject({
    code: 'NoMigration',
    message: expect.stringContaining('nothing replays') as string,
  });
  // Without a repair, what changed and waits for replay is no difference, and told.
  migration.app.exec(`UPDATE num SET v = 'new' WHERE id IN (1, 2)`);
  expect(await verify()).toMatchObject({ equal: false, mismatchCount: DAMAGED, undecided: 2 });
});

it('is refused after the end', async () => {
  await migration.cutOver();
  await finishMigration(migration.endpoints, migration.lease('reverse'), 'fenced');
  await expect(verify(true)).rejects.toMatchObject({
    code: 'NoMigration',
    message: expect.stringContaining('finished') as string,
  });
  expect(await verify()).toMatchObject({ equal: true });
});
