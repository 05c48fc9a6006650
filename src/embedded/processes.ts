/** What can be asked of processes that this one did not start. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const POLL_MS = 50;

/** Sends a signal. @returns false where there is no such process */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    // EPERM: it lives, under another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Does a process with this number live, with `mark` in its command line? A number alone may have been given again. One
 * that has ended but whose parent has not asked for its status does not live.
 */
export async function processRuns(pid: number, mark = ''): Promise<boolean> {
  if (!signalProcess(pid, 0)) return false;
  const line = await commandLine(pid);
  return line !== '' && line.includes(mark);
}

async function commandLine(pid: number): Promise<string> {
  try {
    // Slim containers have no ps.
    if (process.platform === 'linux')
      return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ');
    const { stdout } = await run('ps', ['-ww', '-o', 'stat=,args=', '-p', String(pid)]);
    return stdout.trimStart().startsWith('Z') ? '' : stdout;
  } catch {
    // Both fail where the process has ended in the meantime.
    return '';
  }
}

/** Ends a process: `signal`, then SIGKILL after `graceMs`. Resolves when it is gone. */
export async function endProcess(
  pid: number,
  mark: string,
  signal: NodeJS.Signals,
  graceMs: number,
): Promise<void> {
  if (!(await processRuns(pid, mark))) return;
  signalProcess(pid, signal);
  if (await gone(pid, mark, graceMs)) return;
  signalProcess(pid, 'SIGKILL');
  await gone(pid, mark, graceMs);
}

/** Waits until the process has ended, `ms` at most. */
export async function gone(pid: number, mark: string, ms: number): Promise<boolean> {
  const until = performance.now() + ms;
  while (await processRuns(pid, mark)) {
    if (performance.now() > until) return false;
    await sleep(POLL_MS);
  }
  return true;
}
