/** The fences: after one is up nothing more is written, by whatever statement, in whatever transaction, until it lifts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import pg from 'pg';
import { DEFAULT_INPUT, type TablePlan } from '../src/contract.ts';
import { takeLease, type TargetLease } from '../src/databases/postgres/lease.ts';
import { fenceTarget } from '../src/engine/rollback.ts';
import { installFence } from '../src/databases/sqlite/fence.ts';
import { CONTROL_TABLE, createControl, NOW_MS, readControl } from '../src/databases/sqlite/control.ts';
import { planMigration } from '../src/engine/plan.ts';
import { acceptsWrites, FENCED, LEASE_SETTING, SQLSTATE_FENCED } from '../src/protocol.ts';
import { TestMigration } from './support/migration.ts';
import { seeded } from './support/random.ts';

describe("PostgreSQL's fence", () => {
  let migration: TestMigration;
  let control: pg.Client;
  const clients: pg.Client[] = [];

  async function client(): Promise<pg.Client> {
    const connected = new pg.Client({ connectionString: migration.endpoints.targetUrl });
    connected.on('error', () => undefined);
    await connected.connect();
    await connected.query(`SET statement_timeout = '20s'`);
    clients.push(connected);
    return connected;
  }

  async function lift(): Promise<void> {
    await control.query(`UPDATE crossfade.control SET state = 'open', deadline = NULL WHERE id = 1`);
  }

  const count = async (): Promise<number> =>
    Number((await control.query<{ n: string }>('SELECT count(*) AS n FROM t')).rows[0]!.n);

  beforeAll(async () => {
    migration = await TestMigration.create(
      `CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT UNIQUE); INSERT INTO t (v) VALUES ('a'), ('b');
       CREATE TABLE child (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t ON DELETE CASCADE)`,
    );
    await migration.begin();
    control = await client();
  });

  afterAll(async () => {
    for (const connected of clients) await connected.end();
    await migration.dispose();
  });

  async function holding(owner: pg.Client): Promise<TargetLease> {
    const lease = migration.lease('replay');
    await takeLease(owner, lease);
    return lease;
  }

  it('refuses the application before the cutover', async () => {
    await expect(control.query(`INSERT INTO t (v) VALUES ('early')`)).rejects.toMatchObject({
      code: SQLSTATE_FENCED,
    });
    await migration.copy();
    await migration.catchUp();
    await migration.index();
    await migration.verify();
    await migration.foreignKeys();
    expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
    await control.query(`INSERT INTO t (v) VALUES ('now')`);
  });

  const STATEMENTS = [
    `INSERT INTO t (v) VALUES ('x')`,
    `INSERT INTO t (v) VALUES ('a') ON CONFLICT (v) DO UPDATE SET v = 'y'`,
    `INSERT INTO t (v) VALUES ('a') ON CONFLICT DO NOTHING`,
    `INSERT INTO t (v) SELECT 'nothing' WHERE false`,
    `UPDATE t SET v = 'z'`,
    `UPDATE t SET v = 'z' WHERE id = -1`,
    `DELETE FROM t`,
    `DELETE FROM t WHERE id = -1`,
    `TRUNCATE t CASCADE`,
    `WITH d AS (DELETE FROM t WHERE id = 1 RETURNING id) SELECT * FROM d`,
    `COPY t (v) FROM PROGRAM 'true'`,
    `MERGE INTO t USING (SELECT 'x' AS v) s ON t.v = s.v WHEN NOT MATCHED THEN INSERT (v) VALUES (s.v)`,
    `DO 'BEGIN UPDATE t SET v = v; EXCEPTION WHEN unique_violation THEN NULL; END'`,
  ];
  const LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'];
  /** Refused outright, or by the row that changed under an older snapshot; the router retries both. */
  const refused = (error: { code?: string }): boolean =>
    [SQLSTATE_FENCED, '40001'].includes(error.code ?? '');

  it.each(LEVELS)('refuses every statement at %s, in transactions of before and after', async (level) => {
    const before = await count();
    const [open, seen] = [await client(), await client()];
    const survivors: string[] = [];
    for (const statement of STATEMENTS) {
      // One that has not looked at anything yet, and one whose snapshot is older than the fence.
      await open.query(`BEGIN ISOLATION LEVEL ${level}`);
      await seen.query(`BEGIN ISOLATION LEVEL ${level}`);
      await seen.query(`SELECT * FROM crossfade.router_state()`);
      await fenceTarget(control, await holding(control), 'test', 60_000);
      for (const connection of [open, seen]) {
        await connection.query(statement).then(
          () => survivors.push(statement),
          (error: { code?: string }) =>
            refused(error) ? undefined : survivors.push(`${statement}: ${error.code}`),
        );
        await connection.query('COMMIT');
      }
      await control.query(statement).then(
        () => survivors.push(statement),
        (error: { code?: string }) =>
          error.code === SQLSTATE_FENCED || survivors.push(`${statement}: ${error.code}`),
      );
      await lift();
    }
    expect(survivors).toEqual([]);
    expect(await count()).toBe(before);
  });

  it('refuses sessions that act as replicas or claim a lease, and lets no one pass by a missing row', async () => {
    await fenceTarget(control, await holding(control), 'test', 60_000);
    const session = await client();
    await session.query(`SET session_replication_role = replica; SET ${LEASE_SETTING} = 'someone'`);
    await expect(session.query(`DELETE FROM t`)).rejects.toMatchObject({ code: SQLSTATE_FENCED });
    await expect(session.query(`TRUNCATE t CASCADE`)).rejects.toMatchObject({ code: SQLSTATE_FENCED });
    await session.query('BEGIN');
    await session.query(`DELETE FROM crossfade.control`);
    await expect(session.query(`DELETE FROM t`)).rejects.toMatchObject({ code: SQLSTATE_FENCED });
    await session.query('ROLLBACK');
    await lift();
  });

  it('waits for a transaction that has written, and gives up on one that does not end', async () => {
    const writer = await client();
    await writer.query('BEGIN');
    await writer.query(`INSERT INTO t (v) VALUES ('under way')`);
    await expect(fenceTarget(control, await holding(control), 'test', 300)).rejects.toMatchObject({
      code: '55P03',
    });
    // The state before: the writer and everyone else go on.
    await control.query(`INSERT INTO t (v) VALUES ('meanwhile')`);
    const fencing = fenceTarget(control, await holding(control), 'test', 60_000);
    await writer.query(`INSERT INTO t (v) VALUES ('still allowed')`);
    const waits = `SELECT clock_timestamp()::text AS at FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    let waiting: { at: string }[] = [];
    while (waiting.length === 0) waiting = (await writer.query<{ at: string }>(waits)).rows;
    await writer.query('COMMIT');
    await fencing;
    // The time for which writers queued behind it is part of the pause.
    const bounded = `SELECT deadline <= $1::timestamptz + interval '60 seconds' AS so FROM crossfade.control`;
    expect((await control.query(bounded, [waiting[0]!.at])).rows).toEqual([{ so: true }]);
    const { rows } = await control.query(`SELECT v FROM t WHERE v IN ('under way', 'still allowed')`);
    expect(rows).toHaveLength(2);
    await lift();
  });

  it('lets nothing through under load, fence after fence', async () => {
    const random = seeded('fence');
    let stop = false;
    let accepted = 0;
    const writers = Array.from({ length: 6 }, async (_, i) => {
      const connection = await client();
      for (let n = 0; !stop; n++) {
        const level = random.pick(LEVELS);
        try {
          await connection.query(`BEGIN ISOLATION LEVEL ${level}`);
          if (random.chance(0.5)) await connection.query('SELECT max(id) FROM t');
          await connection.query('INSERT INTO t (v) VALUES ($1)', [`load ${i} ${n}`]);
          if (random.chance(0.3)) await connection.query('UPDATE t SET v = v WHERE id = -1');
          await connection.query('COMMIT');
          accepted++;
        } catch (error) {
          await connection.query('ROLLBACK');
          if (!refused(error as { code?: string })) throw error;
        }
      }
    });
    const toggle = async (): Promise<void> => {
      let before = 0;
      for (let fences = 0; fences < 8; fences++) {
        while (accepted < before + 20) await sleep(1);
        await fenceTarget(control, await holding(control), 'test', 60_000);
        const first = await count();
        await sleep(random.below(30));
        expect(await count()).toBe(first);
        await lift();
        before = accepted;
      }
    };
    await toggle().finally(() => {
      stop = true;
    });
    await Promise.all(writers);
  });

  it('lifts itself at its deadline, and not before', async () => {
    const started = performance.now();
    await fenceTarget(control, await holding(control), 'test', 400);
    for (;;) {
      try {
        await control.query(`INSERT INTO t (v) VALUES ('lifted')`);
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: SQLSTATE_FENCED });
      }
    }
    expect(performance.now() - started).toBeGreaterThan(390);
    await lift();
  });
});

describe("SQLite's fence", () => {
  let folder: string;
  let ours: Database.Database;
  let app: Database.Database;

  const set = (sql: string): void => void ours.exec(`UPDATE ${CONTROL_TABLE} SET ${sql} WHERE id = 1`);
  const content = (): unknown => [
    app.prepare('SELECT * FROM t').all(),
    app.prepare('SELECT * FROM child').all(),
  ];
  let tables: TablePlan[];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'crossfade-fence-'));
    ours = new Database(join(folder, 'app.sqlite'));
    ours.pragma('journal_mode = WAL');
    ours.exec(`
      CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE);
      CREATE TABLE child (k TEXT PRIMARY KEY, t INTEGER REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE) WITHOUT ROWID;
      CREATE TRIGGER quiet BEFORE INSERT ON child WHEN NEW.k = 'skip' BEGIN SELECT RAISE(IGNORE); END;
      CREATE TRIGGER busy AFTER UPDATE ON t BEGIN INSERT OR REPLACE INTO child VALUES ('from trigger', NEW.id); END;
      INSERT INTO t VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES ('c', 1);
    `);
    tables = (
      await planMigration(ours, { policies: { ...DEFAULT_INPUT.policies, triggers: 'drop' }, overrides: {} })
    ).tables;
    createControl(ours, 'test', 1);
    app = new Database(join(folder, 'app.sqlite'), { timeout: 0 });
    app.pragma('foreign_keys = ON');
  });

  afterEach(() => {
    app.close();
    ours.close();
    rmSync(folder, { recursive: true });
  });

  const WRITES = [
    `INSERT INTO t VALUES (3, 'c')`,
    `INSERT OR IGNORE INTO t VALUES (3, 'c')`,
    `INSERT OR REPLACE INTO t VALUES (3, 'a')`,
    `REPLACE INTO t VALUES (1, 'z')`,
    `INSERT INTO t VALUES (1, 'x') ON CONFLICT DO UPDATE SET v = 'y'`,
    `UPDATE t SET v = v || 'x'`,
    `UPDATE OR IGNORE t SET v = 'z' WHERE id = 1`,
    `DELETE FROM t`,
    `DELETE FROM t WHERE id = 1`,
    `INSERT OR FAIL INTO child VALUES ('d', 1), ('e', 2)`,
    `UPDATE t SET id = 10 WHERE id = 1`,
  ];

  it('refuses every statement that would change a row, prepared before or after', () => {
    const before = content();
    const prepared = WRITES.map((sql) => app.prepare(sql));
    installFence(ours, tables);
    for (const state of [
      `state = 'fencing', deadline = ${NOW_MS} + 60000`,
      `state = 'moved', deadline = 0`,
    ]) {
      set(state);
      for (const [i, sql] of WRITES.entries()) {
        expect(() => prepared[i]!.run()).toThrow(FENCED);
        expect(() => app.exec(sql)).toThrow(FENCED);
      }
      expect(content()).toEqual(before);
    }
    set(`state = 'open', deadline = NULL`);
    expect(prepared[0]!.run().changes).toBe(1);
  });

  it('refuses where the control row is missing, and fails where its table is', () => {
    installFence(ours, tables);
    ours.exec(`DELETE FROM ${CONTROL_TABLE}`);
    expect(readControl(ours)).toBeNull();
    for (const sql of WRITES) expect(() => app.exec(sql)).toThrow(FENCED);
    ours.exec(`DROP TABLE ${CONTROL_TABLE}`);
    for (const sql of WRITES) expect(() => app.exec(sql)).toThrow(/no such table/);
  });

  it('stops a transaction that was open before it', () => {
    app.exec('BEGIN');
    app.prepare('SELECT * FROM t').all();
    installFence(ours, tables);
    set(`state = 'fencing', deadline = ${NOW_MS} + 60000`);
    // Its snapshot is older than the fence: SQLite itself refuses.
    expect(() => app.exec(WRITES[0]!)).toThrow(/locked/);
    app.exec('ROLLBACK; BEGIN');
    expect(() => app.exec(WRITES[0]!)).toThrow(FENCED);
    app.exec('ROLLBACK');
    // One that has written keeps the fence out.
    set(`state = 'open'`);
    app.exec(`BEGIN; UPDATE t SET v = 'mine' WHERE id = 1`);
    ours.pragma('busy_timeout = 0');
    expect(() => set(`state = 'fencing', deadline = ${NOW_MS} + 60000`)).toThrow(/locked/);
    app.exec('COMMIT');
  });

  it('lifts itself at its deadline, and never once the writes have moved', async () => {
    installFence(ours, tables);
    const started = Date.now();
    set(`state = 'fencing', deadline = ${NOW_MS} + 150`);
    for (;;) {
      const said = acceptsWrites(readControl(ours)!);
      try {
        app.exec(WRITES[0]!);
        break;
      } catch (error) {
        expect((error as Error).message).toContain(FENCED);
        expect(said).toBe(false);
        await sleep(5);
      }
    }
    expect(Date.now() - started).toBeGreaterThanOrEqual(149);
    expect(acceptsWrites(readControl(ours)!)).toBe(true);
    set(`state = 'moved'`);
    expect(() => app.exec(WRITES[5]!)).toThrow(FENCED);
    expect(acceptsWrites(readControl(ours)!)).toBe(false);
  });

  it('lets the applier pass, and only within its own transaction', () => {
    installFence(ours, tables);
    set(`state = 'moved'`);
    ours.exec('BEGIN IMMEDIATE');
    set('applying = 1');
    ours.exec(`INSERT INTO t VALUES (9, 'from the target')`);
    // Nobody else sees that within the transaction, and what was rolled back is no pass.
    expect(() => app.exec(WRITES[0]!)).toThrow(/locked/);
    expect(app.prepare(`SELECT applying FROM ${CONTROL_TABLE}`).pluck().get()).toBe(0);
    ours.exec('ROLLBACK');
    expect(() => app.exec(WRITES[0]!)).toThrow(FENCED);
    expect(() => ours.exec(WRITES[0]!)).toThrow(FENCED);
  });
});
