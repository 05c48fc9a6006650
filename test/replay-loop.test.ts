/** The replay that runs beside the phases, and its end. */
import { replayLoop } from '../src/engine/replay-loop.ts';
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
