import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { supervise, systemEnvironment } from '../src/embedded/supervise.ts';
import { processRuns } from '../src/embedded/processes.ts';
import { compile, type Compiled } from './support/compiled.ts';
import { eventually } from './support/eventually.ts';

const FOREVER = 'setInterval(() => undefined, 1000);';

function node(script: string): { command: string; args: string[] } {
  return { command: process.execPath, args: ['-e', script] };
}

describe('supervise', () => {
  it('stops a process by its signal and tells how it ended', async () => {
    const child = await supervise({
      name: 'a server',
      ...node(`process.on('SIGINT', () => process.exit(7)); console.log('up'); ${FOREVER}`),
      stopSignal: 'SIGINT',
    });
    await eventually('the server is up', () => child.tail.includes('up'));
    expect(await processRuns(child.pid)).toBe(true);
    await child.stop();
    expect(await child.exited).toEqual({ code: 7, signal: null });
    expect(await processRuns(child.pid)).toBe(false);
    await child.stop();
  });

  it('kills a process that ignores its signal', async () => {
    const child = await supervise({
      name: 'a deaf server',
      ...node(`process.on('SIGTERM', () => undefined); console.log('up'); ${FOREVER}`),
      graceMs: 200,
    });
    await eventually('the server is up', () => child.tail.includes('up'));
    await child.stop();
    expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(await processRuns(child.pid)).toBe(false);
  });

  it('rejects where the program is missing', async () => {
    await expect(
      supervise({ name: 'Nothing', command: '/nonexistent/program', args: [] }),
    ).rejects.toMatchObject({
      code: 'ToolMissing',
      message: expect.stringContaining('Nothing cannot be started (/nonexistent/program)') as string,
    });
  });

  it('reports a process that ends by itself, with its last line', async () => {
    const child = await supervise({
      name: 'a weak server',
      ...node(`console.error('no more'); process.exitCode = 3`),
    });
    await expect(child.failed).rejects.toThrow('a weak server ended by itself (status 3): no more');
    await child.stop();
  });

  it('kills the process of a supervisor that was killed', async () => {
    const child = await supervise({ name: 'a server', ...node(`console.log(process.ppid); ${FOREVER}`) });
    await eventually('the server is up', () => child.tail.length > 0);
    process.kill(Number(child.tail[0]), 'SIGKILL');
    await child.exited;
    await eventually('the process is gone', async () => !(await processRuns(child.pid)));
  });

  it('gives a server no secrets', () => {
    expect(systemEnvironment({ PATH: '/bin', TARGET_URL: 'postgres://u:secret@h/d' })).toEqual({
      PATH: '/bin',
    });
  });
});

describe('a supervised process whose parent is gone', () => {
  let compiled: Compiled;
  let folder: string;

  beforeAll(async () => {
    compiled = await compile('src/embedded/supervise.ts', 'src/embedded/supervisor.js');
    folder = await mkdtemp(join(tmpdir(), 'crossfade-supervise-'));
  });
  afterAll(async () => {
    await compiled.remove();
    await rm(folder, { recursive: true, force: true });
  });

  it.each([
    ['was killed with -9', 'SIGKILL'],
    ['was interrupted with Ctrl-C', 'SIGINT'],
    ['was asked to end', 'SIGTERM'],
  ] as const)('ends after the parent %s', async (_how, signal) => {
    const script = join(folder, `${signal}.mjs`);
    await writeFile(
      script,
      `import { supervise } from ${JSON.stringify(pathToFileURL(compiled.path('src/embedded/supervise.ts')).href)};
       import { writeFileSync } from 'node:fs';
       const child = await supervise({
         name: 'a server', command: process.execPath,
         args: ['-e', "process.on('SIGTERM', () => setTimeout(() => process.exit(), 50)); ${FOREVER}"],
       });
       writeFileSync(process.argv[2], String(child.pid));`,
    );
    const pidFile = join(folder, `${signal}.pid`);
    const parent = spawn(process.execPath, [script, pidFile], { stdio: 'inherit' });
    let pid = 0;
    await eventually('the server is started', async () => {
      pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'));
      return pid !== 0;
    });
    expect(await processRuns(pid)).toBe(true);
    parent.kill(signal);
    await eventually('the server is gone', async () => !(await processRuns(pid)), 10_000);
  });
});
