/** A few runs of `npm run chaos`, and one with a protection taken away, which it has to notice. */
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { mutate } from '../chaos/mutate.ts';
import { MUTANTS } from '../chaos/mutants.ts';
import { eventually } from './support/eventually.ts';
import { seeded } from './support/random.ts';

const ROOT = join(__dirname, '..');
const BUILD = pathToFileURL(`${join(ROOT, 'dist')}/`);
const MAIN = join(ROOT, 'dist', 'chaos', 'main.js');
/** Those that do not make a run wait for a heartbeat timeout. */
const QUICK = [
  ...['cut-connections', 'cut-at-commit', 'lock-source', 'lock-target', 'crash-postgres', 'kill-application'],
  ...[
    'pause',
    'abort',
    'cancel',
    'terminate',
    'seam:commit-point',
    'seam:target-opens',
    'seam:source-fenced',
  ],
];

describe('npm run chaos', () => {
  let directory: string;
  let running: ChildProcess | undefined;

  beforeAll(async () => {
    const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    // Types are checked elsewhere; what counts here is that the sources of this moment run.
    await promisify(execFile)(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: ROOT }).catch(
      (error: unknown) => {
        if (!existsSync(MAIN)) throw error;
      },
    );
  });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'crossfade-chaos-test-'));
    // A server that another user runs has to get through.
    chmodSync(directory, 0o711);
  });

  afterEach(() => {
    if (running?.exitCode === null && running.signalCode === null) running.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });

  function chaos(...args: string[]): Promise<{ status: number | null; output: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [MAIN, ...args], {
        env: { ...process.env, TMPDIR: directory },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      running = child;
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => (output += text));
      }
      child.once('error', reject);
      child.once('close', (status) => resolve({ status, output }));
    });
  }

  /** Command lines of processes that a run has left. */
  function left(seeds: number[]): string[] {
    const queues = seeds.map((seed) => `--task-queue run-${seed}`);
    return execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => [directory, ...queues].some((mark) => line.includes(mark)));
  }

  it('finds nothing wrong with a few seeds, one of them new, and leaves no process behind', async () => {
    const seed = seeded('chaos').below(1_000_000);
    const seeds = [7, 8, seed];
    const which = ['--runs', '3', '--seed', ...seeds.map(String), '--faults', ...QUICK];
    const { status, output } = await chaos(...which, '--parallel', '2');
    expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' });
    expect(output).toContain('OK: 3 runs, 0 violations');
    expect(left(seeds)).toEqual([]);
  }, 400_000);

  /** File systems that are mounted for a run. */
  function mounted(): string[] {
    return execFileSync('mount', { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(directory));
  }

  function isHeld(seed: number): boolean {
    return execFileSync('ps', ['-eo', 'stat,args'], { encoding: 'utf8' })
      .split('\n')
      .some((line) => line.startsWith('T') && line.includes(`--task-queue run-${seed}`));
  }

  it('leaves no process, none that is held, and no file system behind where it is killed', async () => {
    const seed = seeded('chaos killed').below(1_000_000);
    const which = ['--runs', '1', '--seed', String(seed), '--faults', 'hold-worker', '--phases', 'plan'];
    const ended = chaos(...which);
    await eventually('a worker is held', () => isHeld(seed), 120_000);
    const disks = mounted().length;
    running!.kill('SIGKILL');
    const { output } = await ended;
    expect(disks).toBe(output.includes('no disk is filled') ? 0 : 1);
    await eventually('the file system is gone', () => mounted().length === 0);
    await eventually('every process is gone', () => left([seed]).length === 0);
  }, 200_000);

  it('notices within five runs that reverse replay deletes what it has not applied', async () => {
    const { status, output } = await chaos('--mutant', 'high-water-mark', '--runs', '5', '--seed', '1');
    expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' });
  }, 400_000);

  it('takes the protection of every mutant out of the code as it is', () => {
    for (const [name, mutant] of Object.entries(MUTANTS)) {
      const changed = mutate(mutant, join(directory, name), BUILD);
      for (const { file } of mutant.edits) {
        const [is, was] = [new URL(file, changed), new URL(file, BUILD)].map((url) =>
          readFileSync(url, 'utf8'),
        );
        expect(is).not.toBe(was);
      }
    }
  });

  it('refuses a mutant whose code has changed', () => {
    const mutant = {
      without: '',
      edits: [{ file: 'src/errors.js', find: 'no such text', put: '' }],
      aim: { faults: [], phases: [] },
    };
    expect(() => mutate(mutant, join(directory, 'mutant'), BUILD)).toThrow(
      'src/errors.js has 0 times, and not once',
    );
  });
});
