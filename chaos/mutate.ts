/** Makes a copy of the compiled code in which a mutant's protection is gone. The shipped code is not touched. */
import { copyFileSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Mutant } from './mutants.ts';

/** Folder of the compiled code, this module's own. */
export const BUILD = new URL('..', import.meta.url);

/**
 * @param folder does not exist yet
 * @param build compiled code, below the folder that has package.json and node_modules
 * @returns the copy's counterpart of `build`
 * @throws Error where the text of an edit does not occur exactly once: the code has changed and the mutant has not
 */
export function mutate({ edits }: Mutant, folder: string, build: URL = BUILD): URL {
  const root = fileURLToPath(new URL('..', build));
  const copy = join(folder, 'build');
  mkdirSync(folder, { recursive: true });
  cpSync(fileURLToPath(build), copy, { recursive: true, filter: (path) => !/\.(?:d\.ts|map)$/.test(path) });
  copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  for (const { file, find, put } of edits) {
    const path = join(copy, file);
    const parts = readFileSync(path, 'utf8').split(find);
    if (parts.length !== 2) {
      throw new Error(`${file} has ${parts.length - 1} times, and not once: ${find}`);
    }
    writeFileSync(path, parts.join(put));
  }
  return pathToFileURL(`${copy}/`);
}
