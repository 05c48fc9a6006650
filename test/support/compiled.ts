/** The sources as JavaScript, for tests that need a process of their own: Node 20 does not run TypeScript. */
import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

export interface Compiled {
  /** Path of a compiled module: `path('src/cli/main.ts')`. */
  path(source: string): string;
  remove(): Promise<void>;
}

/** Compiles these modules and what they import, without checking types: that is `tsc --noEmit`'s task. */
export async function compile(...sources: string[]): Promise<Compiled> {
  // Below node_modules, so that packages are found from there.
  const folder = join(ROOT, 'node_modules', '.cache', `crossfade-test-${process.pid}-${Date.now()}`);
  const dist = join(folder, 'dist');
  await mkdir(dist, { recursive: true });
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { rootDir: ROOT, outDir: dist, types: ['node'], noCheck: true, declaration: false },
      files: sources.map((source) => join(ROOT, source)),
    }),
  );
  await run(process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', folder]);
  return {
    path: (source) => join(dist, source.replace(/\.ts$/, '.js')),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
