/** The whole demo as a user runs it: servers, application, worker and conductor as processes of their own. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DemoReport } from '../demo/report.ts';
import { CommandRun, type Ended } from './support/command.ts';

const SMALL = ['--users', '500', '--ops', '200', '--stage-wait', '1s', '--soak', '1s', '--plain'];

describe('npm run demo', () => {
  let command: CommandRun;
  let directory: string;

  beforeEach(() => {
    command = new CommandRun(join('demo', 'main.js'));
    directory = command.directory;
  });

  afterEach(() => {
    command.remove();
  });

  /** @param onOutput sees all output so far */
  function demo(args: string[], onOutput?: (output: string) => void): Promise<Ended> {
    return command.run([...SMALL, ...args], onOutput);
  }

  function nothingLeft(except: string[] = []): void {
    expect(command.left()).toEqual([]);
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
        const line = command.processes('pid,args').find((one) => one.includes('worker-process.js'));
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

  it('moves a D1 database under the traffic of two Workers and loses nothing', async () => {
    const { status, output } = await demo([
      ...['--source', 'd1', '--users', '200', '--ops', '40'],
      ...['--report', join(directory, 'report.json')],
    ]);
    expect(output).toMatch(/\nOK: 0 writes lost, every row agrees\n$/);
    expect(status).toBe(0);
    const report = JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8')) as DemoReport;
    expect(report).toMatchObject({ ok: true, outcome: 'complete', verification: { equal: true } });
    expect(report.check).toMatchObject({ database: 'PostgreSQL', agrees: true });
    expect(report.sourceCheck).toMatchObject({ database: 'D1', agrees: true });
    expect(report.check.acknowledgedByTarget).toBeGreaterThan(0);
    nothingLeft(['report.json']);
  }, 300_000);

  it('leaves nothing behind when it is interrupted', async () => {
    let interrupted = false;
    const { status, output } = await demo([], (text) => {
      if (interrupted || !text.includes('copy')) return;
      interrupted = true;
      command.signal('SIGINT');
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
