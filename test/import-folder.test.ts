import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ImportTarget } from './support/import-target.ts';

let target: ImportTarget;
beforeEach(async () => {
  target = await ImportTarget.create();
});
afterEach(() => target.dispose());

describe('crossfade import --from FOLDER', () => {
  it('loads a folder of the JSON that wrangler prints, with the schema', async () => {
    const rows = (...results: unknown[]): string =>
      `${JSON.stringify([{ results, success: true, meta: { duration: 1 } }], null, 2)}\n`;
    target.file(
      `CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, photo BLOB, score REAL, big INTEGER,
         upper_name TEXT GENERATED ALWAYS AS (upper(name)));
       CREATE TABLE tags (id INTEGER PRIMARY KEY, users_id INTEGER REFERENCES users (id), tag TEXT);
       CREATE TRIGGER g AFTER INSERT ON users BEGIN INSERT INTO tags VALUES (NULL, new.id, 'by trigger'); END;`,
      'schema.sql',
    );
    const user = { id: 1, name: '[0, 255]', photo: '[0, 255]', score: 5, big: 7, upper_name: 'X' };
    target.file(
      rows(user, { ...user, id: 2, name: 'é', photo: [1, 2], score: 0.5, big: null }).replace(
        '"big": 7',
        '"big": 9223372036854775807',
      ),
      'users.json',
    );
    const noTags = await target.import(
      target.folder,
      '--policy',
      'triggers=drop',
      '--policy',
      'generatedColumns=leave-out',
    );
    expect(noTags).toMatchObject({ status: 2 });
    expect(noTags.err).toMatch(/has no tags\.json/);
    target.file(JSON.stringify([{ id: 1, users_id: 2, tag: 'x' }]), 'tags.json');
    target.file(rows({ name: 'users', seq: 9 }), 'sqlite_sequence.json');
    const policies = ['--policy', 'triggers=drop', '--policy', 'generatedColumns=leave-out'];
    const { status, out, err } = await target.import(target.folder, ...policies);
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toMatch(/notice: the dump: 1 integer beyond 2\^53 \(first at [^\n]*users\.json, line 4\)/);
    expect(out).toMatch(/notice: the dump: 1 value like "\[0, 255\]" in BLOB columns/);
    expect(await target.rows('SELECT id::int, name, photo, score, big::text FROM users ORDER BY id')).toEqual(
      [
        { id: 1, name: '[0, 255]', photo: Buffer.from([0, 255]), score: 5, big: '9223372036854775807' },
        { id: 2, name: 'é', photo: Buffer.from([1, 2]), score: 0.5, big: null },
      ],
    );
    expect(await target.rows('SELECT id::int, users_id::int, tag FROM tags')).toEqual([
      { id: 1, users_id: 2, tag: 'x' },
    ]);
    expect(await target.rows(`INSERT INTO users (name) VALUES ('next') RETURNING id::int`)).toEqual([
      { id: 10 },
    ]);
  }, 120_000);

  it('takes the schema as JSON too, whatever its order, and tells which file does not fit it', async () => {
    const objects = [
      'CREATE INDEX name_i ON users (name)',
      'CREATE TRIGGER g AFTER INSERT ON users BEGIN DELETE FROM users; END',
      null,
      'CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)',
      'CREATE TABLE _cf_KV (key TEXT PRIMARY KEY)',
      'CREATE TABLE sqlite_sequence(name,seq)',
    ];
    target.file(JSON.stringify([{ results: objects.map((sql) => ({ sql })), success: true }]), 'schema.json');
    target.file('[{"id":1,"name":"one"},\n{"id":2,"nam":"two"}]', 'users.json');
    const misnamed = await target.import(target.folder, '--policy', 'triggers=drop');
    expect(misnamed).toMatchObject({ status: 2, out: '' });
    expect(misnamed.err).toMatch(/users\.json, line 2: table "users" has no column "nam"/);
    target.file('[{"id":1,"name":"one"},\n{"id":2}]', 'users.json');
    expect((await target.import(target.folder)).err).toMatch(/users\.json, line 2: the row has no "name"/);
    target.file('[{"id":1,"name":"one"},\n{"id":2,"name":null}]', 'users.json');
    target.file('[]', 'others.json');
    expect((await target.import(target.folder)).err).toMatch(
      /others\.json: the schema has no table of this name/,
    );
    rmSync(join(target.folder, 'others.json'));
    const { status, err } = await target.import(target.folder, '--policy', 'triggers=drop');
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(await target.rows('SELECT id::int, name FROM users ORDER BY id')).toEqual([
      { id: 1, name: 'one' },
      { id: 2, name: null },
    ]);
  }, 60_000);
});
