/** The replay that runs beside the phases, and its end. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { replayLoop } from '../src/engine/replay-loop.ts';
import { eventually } from './support/eventually.ts';
import { TestMigration } from './support/migration.ts';

describe('the replay loop', () => {
  let migration: TestMigration;

  beforeEach(async () => {
    migration = await TestMigration.create(
      `CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE); INSERT INTO item (name) VALUES ('a'), ('b')`,
    );
    await migration.upToVerified();
  });

  afterEach(async () => {
    await migration.dispose();
  });

  it('is superseded by a cutover, which drops the capture triggers it watches, and does not call that a fault', async () => {
    const stop = new AbortController();
    const end = replayLoop(
      { endpoints: migration.endpoints, signal: stop.signal, onProgress: () => undefined },
      migration.lease('replay'),
    );
    for (let i = 0; i < 5; i++) migration.app.exec(`INSERT INTO item (name) VALUES ('n${i}')`);
    expect(await migration.cutOver()).toMatchObject({ outcome: 'moved' });
    expect(await end).toBe('superseded');
  });

  describe('beside another process that comes and goes', () => {
    const run = promisify(execFile);
    const insert = (name: string): Promise<unknown> =>
      run(process.execPath, [
        '-e',
        `const db = new (require('better-sqlite3'))(process.argv[1]);
         db.prepare('INSERT INTO item (name) VALUES (?)').run(process.argv[2]); db.close()`,
        migration.endpoints.sourcePath,
        name,
      ]);
    /** Does this process hold SQLite's shared lock on the file? Only Linux tells; elsewhere null. */
    const isLocked = (): boolean | null => {
      if (!existsSync('/proc/locks')) return null;
      const { ino } = statSync(migration.endpoints.sourcePath);
      return new RegExp(`POSIX +ADVISORY +READ +${process.pid} [^ ]+:${ino} `).test(
        readFileSync('/proc/locks', 'utf8'),
      );
    };
    const arrived = async (name: string): Promise<boolean> =>
      (await migration.target.query('SELECT 1 FROM item WHERE name = $1', [name])).rowCount === 1;

    it('sees every one of its writes, and takes no lock from the file, by which others know that it is there', async () => {
      // The only connections of this process are those of the loop.
      migration.app.close();
      const stop = new AbortController();
      let reports = 0;
      const end = replayLoop(
        { endpoints: migration.endpoints, signal: stop.signal, onProgress: () => void reports++ },
        migration.lease('replay'),
      );
      end.catch(() => undefined);
      for (const name of ['first', 'second', 'third']) {
        // Duties look at the file, as every opening of it does.
        const seen = reports;
        await eventually('the next duties', () => reports > seen);
        await insert(name);
        await eventually(`${name} on the target`, () => arrived(name));
        // Programs with an SQLite before 3.51 delete the WAL at their end where they find no lock.
        expect(isLocked()).not.toBe(false);
      }
      stop.abort();
      expect(await end).toBe('stopped');
    });

    it('stops where the WAL was taken away, instead of following one that nobody else has', async () => {
      migration.app.close();
      let reports = 0;
      const end = replayLoop(
        {
          endpoints: migration.endpoints,
          signal: new AbortController().signal,
          onProgress: () => void reports++,
        },
        migration.lease('replay'),
      );
      end.catch(() => undefined);
      await eventually('the first duties', () => reports > 0);
      for (const suffix of ['-wal', '-shm']) rmSync(migration.endpoints.sourcePath + suffix);
      await insert('unseen');
      await expect(end).rejects.toMatchObject({ code: 'SourceStale' });
      // With the last connection closed, the next one sees what is there.
      await migration.catchUp();
      expect(await arrived('unseen')).toBe(true);
    });
  });

  it('stops with a fault when a table is rebuilt without its capture triggers', async () => {
    const end = replayLoop(
      { endpoints: migration.endpoints, signal: new AbortController().signal, onProgress: () => undefined },
      migration.lease('replay'),
    );
    migration.app.exec(`
      CREATE TABLE rebuilt (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
      INSERT INTO rebuilt SELECT * FROM item; DROP TABLE item; ALTER TABLE rebuilt RENAME TO item`);
    await expect(end).rejects.toMatchObject({ code: 'SchemaChanged' });
  });
});
