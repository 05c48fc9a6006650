/** Processes that end with the one that has started them. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { processRuns } from '../src/embedded/processes.ts';
import { eventually } from './support/eventually.ts';

const PARENT = pathToFileURL(join(import.meta.dirname, '../src/parent.js')).href;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'crossfade-parent-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Starts a parent that forks a child, runs `then` and is killed with -9. @returns the child's process id */
async function orphan(then: string): Promise<number> {
  const child = join(folder, 'child.mjs');
  await writeFile(
    child,
    `import { onParentGone } from ${JSON.stringify(PARENT)};
     onParentGone(() => process.exit());
     process.send?.('listens', () => undefined);
     setInterval(() => undefined, 1_000);`,
  );
  const parent = join(folder, 'parent.mjs');
  await writeFile(
    parent,
    `import { fork } from 'node:child_process';
     import { writeSync } from 'node:fs';
     const child = fork(${JSON.stringify(child)}, { detached: true, execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
     writeSync(1, String(child.pid));
     ${then}`,
  );
  try {
    execFileSync(process.execPath, [parent], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  } catch (error) {
    const { signal, stdout } = error as { signal: string | null; stdout: string };
    if (signal === 'SIGKILL') return Number(stdout);
    throw error;
  }
  throw new Error('the parent was not killed');
}

it('hear of it when they listen in time', async () => {
  const pid = await orphan(`child.once('message', () => process.kill(process.pid, 'SIGKILL'));`);
  await eventually('the child is gone', async () => !(await processRuns(pid)));
});

it('hear of it when they listen only after it', async () => {
  const pid = await orphan(`process.kill(child.pid, 'SIGSTOP'); process.kill(process.pid, 'SIGKILL');`);
  process.kill(pid, 'SIGCONT');
  await eventually('the child is gone', async () => !(await processRuns(pid)));
});
