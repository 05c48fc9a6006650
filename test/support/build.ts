/** The compiled code as it is at this moment, for tests that start processes of it. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Compiles all sources and bundles the workflows. Types are checked elsewhere: what counts here is that they run. */
export async function build(): Promise<void> {
  const options = ['-p', 'tsconfig.build.json', '--noCheck', '--declaration', 'false'];
  await run(process.execPath, ['node_modules/typescript/bin/tsc', ...options], { cwd: ROOT });
  await run(process.execPath, ['dist/src/build-bundle.js'], { cwd: ROOT });
}
