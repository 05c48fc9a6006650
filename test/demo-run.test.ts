/** The whole demo as a user runs it: servers, application, worker and conductor as processes of their own. */
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DemoReport } from '../demo/report.ts';

const ROOT = join(__dirname, '..');
const MAIN = join(ROOT, 'dist', 'demo', 'main.js');
const SMALL = ['--users', '500', '--ops', '200', '--stage-wait', '1s', '--soak', '1s', '--plain'];

describe('npm run demo', () => {
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
    directory = mkdtempSync(join(tmpdir(), 'crossfade-demo-run-'));
    // A server that another user runs has to get through.
    chmodSync(directory, 0o711);
  });

  afterEach(() => {
    // A demo that did not end in time must not go on behind the next test.
    if (running?.exitCode === null && running.signalCode === null) running.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });

  interface Run {
    status: number | null;
    output: string;
  }

  /** @param onOutput sees all output so far */
  function demo(args: string[], onOutput?: (output: string, pid: number) => void): Promise<Run> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [MAIN, ...SMALL, ...args], {
        env: { ...process.env, TMPDIR: directory },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      running = child;
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text;
          onOutput?.(output, child.pid ?? 0);
        });
      }
      child.once('error', reject);
      child.once('close', (status) => resolve({ status, output }));
    });
  }

  /** Processes with the run's directory in their command line. */
  function processes(): string[] {
    return execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(directory));
  }

  function nothingLeft(except: string[] = []): void {
    expect(processes()).toEqual([]);
    expect(readdirSync(directory).filter((name) => !except.includes(name))).toEqual([]);
  }

  it('moves the database under traffic and loses nothing', async () => {
    const { status, output } = await demo(['--report', join(directory, 'report.json')]);
    expect(output).toMatch(/\nOK: 0 writes lost, every row agrees\n$/);
    expect(status).toBe(0);
    const report = JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')) as DemoReport;
    expect(report).toMatchObject({
      ok: true,
      outcome: 'complete',
      writesLost: 0,
      verification: { equal: true },
    });
    expect(report.check).toMatchObject({ database: 'PostgreSQL', agrees: true });
    expect(report.sourceCheck).toMatchObject({ database: 'SQLite', agrees: true });
    expect(report.check.acknowledgedByTarget).toBeGreaterThan(0);
    expect(report.pauses).toHaveLength(1);
    nothingLeft(['report.json']);
  }, 300_000);

  it('goes back to SQLite with every write that was made on PostgreSQL, although the worker is killed', async () => {
    let killed = false;
    const { status, output } = await demo(
      ['--rollback', '--report', join(directory, 'report.json')],
      (text) => {
        if (killed || !text.includes('shift reads')) return;
        killed = true;
        const line = execFileSync('ps', ['-eo', 'pid,ppid,args'], { encoding: 'utf8' })
          .split('\n')
          .find((one) => one.includes('worker-process.js') && one.includes(MAIN.replace('main.js', '')));
        process.kill(Number(line?.trim().split(/\s+/)[0]), 'SIGKILL');
      },
    );
    expect(output).toMatch(/\nOK: back on SQLite, .* 0 writes lost\n$/);
    expect(status).toBe(0);
    const report = JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')) as DemoReport;
    expect(report).toMatchObject({ ok: true, outcome: 'rolled back', writesLost: 0, workerRestarts: 1 });
    expect(report.check).toMatchObject({ database: 'SQLite', agrees: true, targetWritesLost: 0 });
    expect(report.check.acknowledgedByTarget).toBeGreaterThanOrEqual(50);
    nothingLeft(['report.json']);
  }, 300_000);

  it('leaves nothing behind when it is interrupted', async () => {
    let interrupted = false;
    const { status, output } = await demo([], (text, pid) => {
      if (interrupted || !text.includes('copy')) return;
      interrupted = true;
      process.kill(pid, 'SIGINT');
    });
    expect(interrupted).toBe(true);
    expect(output).toMatch(/stopped by SIGINT\n$/);
    expect(status).toBe(130);
    nothingLeft();
  }, 300_000);

  it('refuses bad arguments with one line and starts nothing', async () => {
    const { status, output } = await demo(['--users', '3']);
    expect(status).toBe(2);
    expect(output).toMatch(/--users.*whole number from 100/);
    nothingLeft();
  });
});
