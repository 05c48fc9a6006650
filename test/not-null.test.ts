/** NULLs in a column that is declared NOT NULL, which SQLite has where the constraint came after the rows. */
import Database from 'better-sqlite3';
import { differences } from './support/same.ts';
import { TestMigration } from './support/migration.ts';

describe('NULLs in a NOT NULL column', () => {
  it('arrive, with a notice that names them, and the column may be NULL on the target', async () => {
    const migration = await TestMigration.create(
      `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT);
       INSERT INTO t VALUES (1, 'x', 'y'), (2, NULL, 'y'), (3, NULL, 'y'), (4, 'x', 'z')`,
    );
    try {
      const db = new Database(migration.endpoints.sourcePath);
      db.unsafeMode(true);
      db.exec(`PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT NOT NULL)' WHERE name = 't'`);
      db.close();
      await migration.upToVerified();
      const notices = migration.plan.notices.filter(({ code }) => code === 'null-despite-not-null');
      expect(notices).toEqual([
        expect.objectContaining({ table: 't', column: 'a', count: 2, keys: ['2', '3'] }),
      ]);
      const { rows } = await migration.target.query(
        `SELECT attname FROM pg_attribute WHERE attrelid = 'public.t'::regclass AND attnum > 0 AND NOT attnotnull`,
      );
      expect(rows).toEqual([{ attname: 'a' }]);
      expect(await differences(migration.app, migration.target, migration.plan)).toEqual([]);
    } finally {
      await migration.dispose();
    }
  });
});
