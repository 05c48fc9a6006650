/** Where crossfade keeps what outlives a run: the state of embedded servers, and programs that it built or downloaded. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import envPaths from 'env-paths';

/**
 * `data` for state, `cache` for what can be made again. CROSSFADE_HOME puts both below one directory, for containers
 * and for machines whose home is not writable.
 */
export function directories(env: NodeJS.ProcessEnv): { data: string; cache: string } {
  const home = env['CROSSFADE_HOME'];
  if (home !== undefined && home !== '')
    return { data: resolve(home, 'data'), cache: resolve(home, 'cache') };
  const { data, cache } = envPaths('crossfade', { suffix: '' });
  return { data, cache };
}

/** Creates a directory that only this user may look into, because state holds what passed through Temporal. */
export async function privateDirectory(...parts: string[]): Promise<string> {
  const path = join(...parts);
  await mkdir(path, { recursive: true, mode: 0o700 });
  return path;
}
