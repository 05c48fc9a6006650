/** A consistent copy of the source as a file, made while the application writes. */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { originOf } from '../databases/sqlite/origin.ts';
import { CrossfadeError, messageOf } from '../errors.ts';

/** Where the backup of a migration goes: beside the source, named after the migration. */
export function backupPathOf(sourcePath: string, migration: string): string {
  return `${sourcePath}.${migration.replaceAll(/[^A-Za-z0-9._-]/g, '_')}.backup`;
}

/**
 * Makes the backup, unless a complete one is there. VACUUM INTO reads one snapshot; the online backup API would start
 * again at every write.
 * @param onProgress told about once a second how many bytes are written
 * @returns the file; of a D1 database a bookmark of its own, of 0 bytes
 * @throws CrossfadeError Internal where the file cannot be written
 */
export async function backUp(
  sourcePath: string,
  migration: string,
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<{ path: string; bytes: number }> {
  const origin = originOf(sourcePath);
  if (origin !== undefined) return { path: await origin.backUp(), bytes: 0 };
  const path = backupPathOf(sourcePath, migration);
  if (existsSync(path)) return { path, bytes: statSync(path).size };
  // A name of its own: a stale attempt that wakes up must not pass another one's half-written file off as complete.
  const partial = `${path}.${randomUUID()}.partial`;
  removePartial(path);
  const thread = new Worker(new URL('./backup-thread.js', import.meta.url), {
    workerData: { sourcePath, backupPath: partial },
  });
  const timer = setInterval(() => onProgress(existsSync(partial) ? statSync(partial).size : 0), 1_000);
  const stop = (): void => void thread.terminate();
  signal.addEventListener('abort', stop);
  try {
    await once(thread, 'exit');
    if (signal.aborted) throw new Error('the backup was stopped');
    renameSync(partial, path);
    return { path, bytes: statSync(path).size };
  } catch (error) {
    rmSync(partial, { force: true });
    if (signal.aborted) throw error;
    throw new CrossfadeError(
      'Internal',
      `the backup ${path} could not be written: ${messageOf(error)}; is there room beside the source?`,
      error,
    );
  } finally {
    signal.removeEventListener('abort', stop);
    clearInterval(timer);
  }
}

/** What attempts left that were killed. */
function removePartial(path: string): void {
  const folder = dirname(path);
  for (const name of readdirSync(folder)) {
    if (name.startsWith(`${basename(path)}.`) && name.endsWith('.partial'))
      rmSync(join(folder, name), { force: true });
  }
}
