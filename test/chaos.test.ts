/** A few runs of `npm run chaos`, and one with a protection taken away, which it has to notice. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { mutate } from '../chaos/mutate.ts';
import { MUTANTS } from '../chaos/mutants.ts';
import { CommandRun, DIST } from './support/command.ts';
import { eventually } from './support/eventually.ts';
import { seeded } from './support/random.ts';

const BUILD = pathToFileURL(`${DIST}/`);
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
  let command: CommandRun;

  beforeEach(() => {
    command = new CommandRun(join('chaos', 'main.js'));
  });

  afterEach(() => {
    command.remove();
  });

  it('finds nothing wrong with a few seeds, one of them new, and leaves no process behind', async () => {
    const seed = seeded('chaos').below(1_000_000);
    const seeds = [7, 8, seed];
    const which = ['--runs', '3', '--seed', ...seeds.map(String), '--faults', ...QUICK];
    const { status, output } = await command.run([...which, '--parallel', '2']);
    expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' });
    expect(output).toContain('OK: 3 runs, 0 violations');
    expect(command.left()).toEqual([]);
  }, 400_000);

  it('finds nothing wrong with a D1 database whose API fails, and leaves no process behind', async () => {
    const which = ['--runs', '1', '--seed', '1', '--source', 'd1', '--faults', 'd1-lost-reply', 'd1-error'];
    const { status, output } = await command.run(which);
    expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' });
    expect(output).toContain('OK: 1 runs, 0 violations');
    expect(output).toContain('outcomes: complete 1');
    expect(command.left()).toEqual([]);
  }, 400_000);

  /** File systems that are mounted for a run. */
  function mounted(): string[] {
    return execFileSync('mount', { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(command.directory));
  }

  function isHeld(seed: number): boolean {
    return command
      .processes('stat,args')
      .some((line) => line.startsWith('T') && line.includes(`--task-queue run-${seed}`));
  }

  it('leaves no process, none that is held, and no file system behind where it is killed', async () => {
    const seed = seeded('chaos killed').below(1_000_000);
    const which = ['--runs', '1', '--seed', String(seed), '--faults', 'hold-worker', '--phases', 'plan'];
    const ended = command.run(which);
    await eventually('a worker is held', () => isHeld(seed), 120_000);
    const disks = mounted().length;
    command.signal('SIGKILL');
    const { output } = await ended;
    expect(disks).toBe(output.includes('no disk is filled') ? 0 : 1);
    await eventually('the file system is gone', () => mounted().length === 0);
    let last: string[] = [];
    await eventually(
      () => `every process is gone: ${last.join('\n')}`,
      () => (last = command.left()).length === 0,
    );
  }, 200_000);

  it('notices within five runs that reverse replay deletes what it has not applied', async () => {
    const { status, output } = await command.run([
      '--mutant',
      'high-water-mark',
      '--runs',
      '5',
      '--seed',
      '1',
    ]);
    expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' });
  }, 400_000);

  it('takes the protection of every mutant out of the code as it is', () => {
    for (const [name, mutant] of Object.entries(MUTANTS)) {
      const changed = mutate(mutant, join(command.directory, name), BUILD);
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
    expect(() => mutate(mutant, join(command.directory, 'mutant'), BUILD)).toThrow(
      'src/errors.js has 0 times, and not once',
    );
  });
});
