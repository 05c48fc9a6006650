/** What the figures depend on: the machine, the versions, and the server's settings. */
import { cpus, loadavg, totalmem } from 'node:os';
import Database from 'better-sqlite3';
import { findProgram, runShell } from './programs.ts';
import { withClient, type TargetServer } from './target.ts';

export interface Machine {
  at: string;
  command: string;
  cores: number;
  processor: string;
  memoryGiB: number;
  platform: string;
  node: string;
  /** The library that crossfade uses, and the sqlite3 program. */
  sqlite: string;
  postgres: string;
  /** Average number of running processes over the last minute, at the beginning. */
  load: number;
}

const SETTINGS = ['fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size'];

export async function describeMachine(server: TargetServer, args: string[]): Promise<Machine> {
  const library = new Database(':memory:');
  const version = library.prepare('SELECT sqlite_version()').pluck().get() as string;
  library.close();
  const [processor] = cpus();
  return {
    at: new Date().toISOString(),
    command: ['npm run bench', ...(args.length === 0 ? [] : ['--', ...args])].join(' '),
    cores: cpus().length,
    processor: processor?.model.trim() ?? 'unknown processor',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    sqlite: `${version} (library), ${await shellVersion()} (sqlite3)`,
    postgres: await serverVersion(server),
    load: loadavg()[0] ?? 0,
  };
}

/** Version of the sqlite3 program, which may be another one than the library's. */
export async function shellVersion(): Promise<string> {
  const program = findProgram('sqlite3');
  if (program === undefined) return 'not installed';
  const { stdout } = await runShell('"$1" --version', [program], process.env, new AbortController().signal);
  return stdout.split(' ')[0] ?? stdout;
}

function serverVersion(server: TargetServer): Promise<string> {
  return withClient(server.url, async (client) => {
    const { rows } = await client.query<{ name: string; value: string }>(
      `SELECT name, current_setting(name) AS value FROM unnest($1::text[]) name`,
      [['server_version', ...SETTINGS]],
    );
    const [version, ...settings] = rows;
    return `${version?.value} (${server.name}; ${settings.map(({ name, value }) => `${name} ${value}`).join(', ')})`;
  });
}
