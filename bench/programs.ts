/** Programs of other makers, found on PATH and run with nothing of ours between them. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { connectionConfig } from '../src/databases/postgres/connection.ts';

/** Path of a program, or undefined where it is not installed. */
export function findProgram(name: string): string | undefined {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** The environment by which libpq's programs find the database, so that no password is on a command line. */
export function libpqEnvironment(url: string): NodeJS.ProcessEnv {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    ...process.env,
    PGHOST: hostname,
    PGPORT: port || '5432',
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: decodeURIComponent(pathname.slice(1)),
    // The same as crossfade's own connections: an encrypted pipe against a plain one would not be a comparison.
    PGSSLMODE: connectionConfig(url).ssl === false ? 'disable' : 'require',
    PGOPTIONS: '-c synchronous_commit=on',
  };
}

export interface Finished {
  ms: number;
  stdout: string;
}

/**
 * Runs a POSIX shell script with the given parameters ($1 …) and measures it from start to end.
 * @throws Error with what it printed where its exit status is not 0
 */
export function runShell(
  script: string,
  parameters: string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const started = performance.now();
    // A process group of its own, so that ending it ends every program of a pipeline.
    const child = spawn('/bin/sh', ['-c', script, 'sh', ...parameters], {
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const end = (): void => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
    };
    signal.addEventListener('abort', end, { once: true });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', reject);
    child.once('close', (code, by) => {
      signal.removeEventListener('abort', end);
      const ms = performance.now() - started;
      // A program in the middle of a pipeline does not show in the exit status; what it prints does.
      if (code === 0 && stderr === '') resolve({ ms, stdout });
      else reject(new Error(`${script.trim()} ended with ${by ?? code}: ${stderr.trim() || stdout.trim()}`));
    });
  });
}
