/** Starts a task's process and waits for its answer. */
import { fork } from 'node:child_process';
import type { Answer } from './serve.ts';

export type TaskName = 'copy' | 'verify' | 'catch-up' | 'worker';

export type Done<Result> = Exclude<Answer<Result>, { error: string }>;

/** @throws Error with the task's own stack where it failed */
export function runTask<Input extends object, Result>(
  name: TaskName,
  input: Input,
  signal: AbortSignal,
): Promise<Done<Result>> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = fork(new URL(`./${name}.js`, import.meta.url), {
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const end = (): void => void child.kill('SIGTERM');
    signal.addEventListener('abort', end, { once: true });
    let answer: Answer<Result> | undefined;
    child.once('message', (message) => (answer = message as Answer<Result>));
    child.once('error', reject);
    child.once('exit', (code, by) => {
      signal.removeEventListener('abort', end);
      if (answer === undefined) reject(new Error(`task ${name} ended with ${by ?? code} and no answer`));
      else if ('error' in answer) reject(new Error(`task ${name}: ${answer.error}`));
      else resolve(answer);
    });
    child.send(input);
  });
}
