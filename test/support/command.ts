/** A command of the compiled code as a user runs it, with a directory of its own for all that it leaves behind. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const DIST = join(ROOT, 'dist');

export interface Ended {
  status: number | null;
  /** Of both streams. */
  output: string;
}

export class CommandRun {
  /** The command's TMPDIR. */
  readonly directory: string;
  readonly #main: string;
  #child: ChildProcess | undefined;

  /** @param main path below dist */
  constructor(main: string) {
    this.#main = join(DIST, main);
    this.directory = mkdtempSync(join(tmpdir(), 'crossfade-command-'));
    // A server that another user runs has to get through.
    chmodSync(this.directory, 0o711);
  }

  /** @param onOutput sees all output so far */
  run(args: string[], onOutput?: (output: string) => void): Promise<Ended> {
    return new Promise((settle, reject) => {
      const child = spawn(process.execPath, [this.#main, ...args], {
        env: { ...process.env, TMPDIR: this.directory },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      this.#child = child;
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text;
          onOutput?.(output);
        });
      }
      child.once('error', reject);
      child.once('close', (status) => settle({ status, output }));
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /**
   * Lines of ps, environments included, in which the directory is: workerd names nothing of a run in its command line.
   * @param columns as ps names them
   */
  processes(columns: string): string[] {
    return execFileSync('ps', ['axeww', '-o', columns], { encoding: 'utf8', maxBuffer: 1 << 26 })
      .split('\n')
      .filter((line) => line.includes(this.directory));
  }

  /** Command lines of processes that it has left. */
  left(): string[] {
    return this.processes('args').map((line) => line.slice(0, 300));
  }

  /** A command that did not end in time must not go on behind the next test. */
  remove(): void {
    const child = this.#child;
    if (child?.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }
}
