/** After the cutover: a source that is put back to a time before it, or whose table is rebuilt, is not trusted. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { DatabaseConnection } from '../src/index.ts';
import { reverseLoop } from '../src/engine/replay-loop.ts';
import { moveWritesBack } from '../src/engine/rollback.ts';
import { leaveTarget } from '../src/engine/target-schema.ts';
import { eventually } from './support/eventually.ts';
import { never, TestMigration } from './support/migration.ts';
import { differences } from './support/same.ts';

let migration: TestMigration;
let connection: DatabaseConnection | undefined;

beforeEach(async () => {
  migration = await TestMigration.create(
    `CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); INSERT INTO t (v) VALUES ('a'), ('b');
     CREATE TABLE other (id INTEGER PRIMARY KEY, v TEXT)`,
  );
  await migration.upToVerified();
});

afterEach(async () => {
  await connection?.close();
  connection = undefined;
  await migration.dispose();
});

const loop = (signal = never) =>
  reverseLoop(
    { endpoints: migration.endpoints, signal, onProgress: () => undefined },
    migration.lease('reverse'),
  );
const back = () =>
  moveWritesBack({ endpoints: migration.endpoints, lease: migration.lease('reverse'), maxPauseMs: 5_000 });

it('a source from before the cutover takes no write of a router, and no roll-back takes it for the primary', async () => {
  const { sourcePath, targetUrl } = migration.endpoints;
  const saved = join(migration.folder, 'saved.sqlite');
  migration.app.prepare('VACUUM INTO ?').run(saved);
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
  await migration.target.query(`INSERT INTO t (v) VALUES ('on the target')`);
  const backup = new Database(saved);
  await backup.backup(sourcePath);
  backup.close();

  connection = new DatabaseConnection({ source: sourcePath, target: targetUrl });
  expect(await connection.write(`INSERT INTO t (v) VALUES ('routed')`)).toMatchObject({ changes: 1 });
  expect(connection.primary()).toBe('target');
  expect((await migration.target.query(`SELECT v FROM t WHERE id > 2 ORDER BY id`)).rows).toEqual([
    { v: 'on the target' },
    { v: 'routed' },
  ]);
  // Reverse replay says so, instead of ending as if another owner had taken over.
  await expect(loop()).rejects.toMatchObject({ code: 'LogDiscontinuity' });
  await expect(back()).rejects.toMatchObject({ code: 'LogDiscontinuity' });
  await expect(leaveTarget(migration.endpoints, migration.name, 'drop')).rejects.toMatchObject({
    code: 'OutcomeUnknown',
  });
});

it('a table that is rebuilt on the source after the cutover is fenced again, and what it took is undone', async () => {
  expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
  await migration.target.query(`UPDATE t SET v = 'before' WHERE id = 1`);
  await migration.reverseCatchUp();
  const controller = new AbortController();
  const running = loop(controller.signal);
  const { app } = migration;
  const sql = app.prepare(`SELECT sql FROM sqlite_master WHERE name = 't'`).pluck().get() as string;
  app.pragma('writable_schema = OFF');
  app
    .transaction(() => {
      app.exec(`CREATE TABLE copy AS SELECT * FROM t; DROP TABLE t; ${sql}; INSERT INTO t SELECT * FROM copy;
        DROP TABLE copy; UPDATE t SET v = 'by a foreign writer' WHERE id = 2`);
    })
    .immediate();
  await eventually('the fence is back', () => {
    try {
      app.exec(`UPDATE t SET v = v WHERE id = -1; INSERT INTO t (v) VALUES ('slipped')`);
      return false;
    } catch (error) {
      expect(String(error)).toMatch(/crossfade: fenced/);
      return true;
    }
  });
  await eventually(
    'what it took is undone',
    async () => (await differences(app, migration.target, migration.plan)).length === 0,
  );
  controller.abort();
  expect(await running).toBe('stopped');
  expect(await back()).toMatchObject({ outcome: 'moved' });
});
