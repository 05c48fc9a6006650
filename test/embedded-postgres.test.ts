import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import { startPostgres, type PostgresOptions, type PostgresServer } from '../src/embedded/postgres.ts';
import { processRuns } from '../src/embedded/processes.ts';
import { compile } from './support/compiled.ts';
import { eventually } from './support/eventually.ts';

let folder: string;
let env: NodeJS.ProcessEnv;
const started: PostgresServer[] = [];

async function start(options: Partial<PostgresOptions> = {}): Promise<PostgresServer> {
  const server = await startPostgres({
    env,
    dataDir: join(folder, 'pg'),
    onLine: () => undefined,
    ...options,
  });
  started.push(server);
  return server;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows.map((row) => Object.values(row)[0]);
  } finally {
    await client.end();
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'crossfade-postgres-'));
  // As a caller's directory would be that everyone may enter; another test is about one that is closed.
  await chmod(folder, 0o755);
  env = { ...process.env };
  delete env['TARGET_URL'];
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
  await rm(folder, { recursive: true, force: true });
});

describe('startPostgres', () => {
  it('starts a server with a password on the loopback address only', async () => {
    const server = await start();
    const url = new URL(server.url);
    expect(server.owned).toBe(true);
    expect([url.hostname, url.pathname]).toEqual(['127.0.0.1', '/crossfade']);
    expect(url.password.length).toBeGreaterThanOrEqual(20);
    expect(await query(server.url, 'SHOW listen_addresses')).toEqual(['127.0.0.1']);
    expect(await query(server.url, 'SHOW unix_socket_directories')).toEqual(['']);
    expect(await query(server.url, `SELECT lower('Ä')`)).toEqual(['ä']);
    url.password = 'wrong';
    await expect(query(url.toString(), 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('keeps data, password and port from start to start', async () => {
    const first = await start();
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS n');
    await first.stop();
    expect(await processRuns(first.pid!)).toBe(false);
    const second = await start();
    expect(second.url).toBe(first.url);
    expect(await query(second.url, 'SELECT n FROM kept')).toEqual([42]);
  });

  it('lets nobody else read the password', async () => {
    const server = await start();
    const record = join(folder, 'pg', 'server.json');
    expect((await stat(record)).mode & 0o077).toBe(0);
    expect(await readFile(record, 'utf8')).toContain(new URL(server.url).password);
  });

  it('removes temporary data', async () => {
    const server = await start({ temporary: true });
    await server.stop();
    await expect(stat(join(folder, 'pg'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('joins the server that a live run keeps in the same directory', async () => {
    const owner = await start();
    const joined = await start();
    expect(joined).toMatchObject({ owned: false, url: owner.url });
    await joined.stop();
    expect(await query(owner.url, 'SELECT 1')).toEqual([1]);
  });

  it('works below a directory that only its owner may enter', async () => {
    await chmod(folder, 0o700);
    const server = await start({ temporary: true });
    expect(await query(server.url, 'SELECT 1')).toEqual([1]);
  });

  it('is not confused by an initialisation that was cut short', async () => {
    await (await start()).stop();
    await rm(join(folder, 'pg', 'cluster'), { recursive: true });
    const { mkdir } = await import('node:fs/promises');
    await mkdir(join(folder, 'pg', 'cluster.new'));
    await writeFile(join(folder, 'pg', 'cluster.new', 'PG_VERSION'), '18');
    const server = await start();
    expect(await query(server.url, 'SELECT 1')).toEqual([1]);
  });

  it('says why a server did not start, not with its farewell', async () => {
    await (await start()).stop();
    await writeFile(join(folder, 'pg', 'cluster', 'backup_label'), 'no label');
    await expect(start()).rejects.toMatchObject({
      code: 'ToolMissing',
      message: expect.stringMatching(/did not start: .*FATAL: .*"backup_label"/) as string,
    });
  });

  it('uses TARGET_URL as it is', async () => {
    env['TARGET_URL'] = 'postgres://someone@db.example.com/shop';
    expect(await start()).toMatchObject({ owned: false, url: 'postgres://someone@db.example.com/shop' });
  });

  it('ends after its run was killed with -9, with its data intact', async () => {
    const compiled = await compile('src/embedded/postgres.ts', 'src/embedded/supervisor.js');
    try {
      const script = join(folder, 'run.mjs');
      await writeFile(
        script,
        `import { startPostgres } from ${JSON.stringify(pathToFileURL(compiled.path('src/embedded/postgres.ts')).href)};
         import pg from ${JSON.stringify(pathToFileURL(require.resolve('pg')).href)};
         const server = await startPostgres({ dataDir: ${JSON.stringify(join(folder, 'pg'))}, onLine: () => undefined });
         const client = new pg.Client({ connectionString: server.url });
         await client.connect();
         await client.query('CREATE TABLE kept AS SELECT 42 AS n');
         console.log(server.pid);
         setInterval(() => undefined, 1000);`,
      );
      const run = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      run.stdout.on('data', (chunk) => (out += String(chunk)));
      await eventually('the run is up', () => out.includes('\n'));
      run.kill('SIGKILL');
      await once(run, 'exit');
      await eventually('PostgreSQL is gone', async () => !(await processRuns(Number(out))));
      const server = await start();
      expect(server.owned).toBe(true);
      expect(await query(server.url, 'SELECT n FROM kept')).toEqual([42]);
    } finally {
      await compiled.remove();
    }
  });
});
