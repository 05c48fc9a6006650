import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { runningTemporal, startTemporal, type TemporalServer } from '../src/embedded/temporal.ts';
import { temporalProgram } from '../src/embedded/temporal-program.ts';
import { processRuns } from '../src/embedded/processes.ts';
import { compile } from './support/compiled.ts';
import { eventually } from './support/eventually.ts';

const quiet = (): void => undefined;

let folder: string;
let env: NodeJS.ProcessEnv;
const started: TemporalServer[] = [];

async function start(options: { stateFile?: string } = {}): Promise<TemporalServer> {
  const server = await startTemporal({ env, onLine: quiet, ...options });
  started.push(server);
  return server;
}

async function withClient<T>(server: TemporalServer, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address: server.address });
  try {
    return await work(new Client({ connection, namespace: server.namespace }));
  } finally {
    await connection.close();
  }
}

async function pidOf(stateFile: string): Promise<number> {
  const record = JSON.parse(await readFile(`${stateFile}.server.json`, 'utf8')) as { pid: number };
  return record.pid;
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'crossfade-temporal-'));
  env = { ...process.env };
  delete env['TEMPORAL_ADDRESS'];
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
  await rm(folder, { recursive: true, force: true });
});

describe('startTemporal', () => {
  it('starts a server with its web UI on the loopback address, and leaves nothing behind', async () => {
    const stateFile = join(folder, 'temporal.db');
    const server = await start({ stateFile });
    expect(server.owned).toBe(true);
    expect(server.address).toMatch(/^127\.0\.0\.1:\d+$/);
    expect((await fetch(server.uiUrl!)).status).toBe(200);
    const pid = await pidOf(stateFile);
    expect(await processRuns(pid)).toBe(true);
    await server.stop();
    expect(await processRuns(pid)).toBe(false);
    await expect(fetch(server.uiUrl!)).rejects.toThrow();
  });

  it('registers the search attributes that the workflows set', async () => {
    const server = await start();
    await withClient(server, async (client) => {
      const { customAttributes } = await client.connection.operatorService.listSearchAttributes({
        namespace: server.namespace,
      });
      expect(Object.keys(customAttributes).toSorted()).toEqual(['CrossfadeMismatches', 'CrossfadeVerdict']);
    });
  });

  it('keeps workflows in its state file, and its ports', async () => {
    const stateFile = join(folder, 'state', 'temporal.db');
    const first = await start({ stateFile });
    await withClient(first, (client) =>
      client.workflow.start('migrateDatabase', { workflowId: 'kept', taskQueue: 'nobody', args: [{}] }),
    );
    await first.stop();
    const second = await start({ stateFile });
    expect([second.address, second.uiUrl]).toEqual([first.address, first.uiUrl]);
    await withClient(second, async (client) => {
      const { status } = await client.workflow.getHandle('kept').describe();
      expect(status.name).toBe('RUNNING');
    });
  });

  it('joins the server that a live run keeps on the same state file', async () => {
    const stateFile = join(folder, 'temporal.db');
    const owner = await start({ stateFile });
    const joined = await start({ stateFile });
    expect(joined).toMatchObject({
      owned: false,
      owner: process.pid,
      address: owner.address,
      uiUrl: owner.uiUrl,
    });
    await joined.stop();
    expect(await runningTemporal(stateFile)).toMatchObject({ address: owner.address });
    await owner.stop();
    expect(await runningTemporal(stateFile)).toBeUndefined();
  });

  it('reports a server that was killed', async () => {
    const stateFile = join(folder, 'temporal.db');
    const server = await start({ stateFile });
    process.kill(await pidOf(stateFile), 'SIGKILL');
    await expect(server.failed).rejects.toThrow("Temporal's dev server ended by itself (SIGKILL)");
  });

  it('starts again after its run was killed with -9', async () => {
    const compiled = await compile('src/embedded/temporal.ts', 'src/embedded/supervisor.js');
    try {
      const stateFile = join(folder, 'temporal.db');
      const module = pathToFileURL(compiled.path('src/embedded/temporal.ts')).href;
      const script = join(folder, 'run.mjs');
      await writeFile(
        script,
        `import { startTemporal } from ${JSON.stringify(module)};
         await startTemporal({ stateFile: ${JSON.stringify(stateFile)}, onLine: () => undefined });
         console.log('up'); setInterval(() => undefined, 1000);`,
      );
      const run = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      run.stdout.on('data', (chunk) => (out += String(chunk)));
      await eventually('the run is up', () => out.includes('up'));
      const before = await pidOf(stateFile);
      run.kill('SIGKILL');
      await once(run, 'exit');
      const server = await start({ stateFile });
      expect(server.owned).toBe(true);
      expect(await processRuns(before)).toBe(false);
    } finally {
      await compiled.remove();
    }
  });

  it('uses the server that TEMPORAL_ADDRESS names, and leaves it running', async () => {
    const own = await start();
    env = { ...env, TEMPORAL_ADDRESS: own.address, TEMPORAL_UI_URL: 'http://ui.example.com/' };
    const named = await start();
    expect(named).toMatchObject({ owned: false, address: own.address, uiUrl: 'http://ui.example.com' });
    await named.stop();
    await withClient(own, (client) => client.connection.ensureConnected());
  });

  it('says which server does not answer, and which namespace is not there', async () => {
    env = { ...env, TEMPORAL_ADDRESS: '127.0.0.1:1' };
    await expect(start()).rejects.toMatchObject({
      code: 'TemporalUnreachable',
      message: expect.stringContaining('127.0.0.1:1') as string,
    });
    env = { ...env, TEMPORAL_ADDRESS: process.env['TEST_TEMPORAL_ADDRESS'] ?? (await startForTests()) };
    env['TEMPORAL_NAMESPACE'] = 'nowhere';
    await expect(start()).rejects.toMatchObject({
      code: 'TemporalUnreachable',
      message: expect.stringContaining('namespace "nowhere"') as string,
    });
  });

  async function startForTests(): Promise<string> {
    const { TEMPORAL_ADDRESS: _, ...rest } = env;
    const server = await startTemporal({ env: rest, onLine: quiet });
    started.push(server);
    return server.address;
  }

  it('says what did not start, with its last line', async () => {
    const program = await script('temporal', 'echo "unknown command server" >&2; exit 1');
    env = { ...env, TEMPORAL_CLI_PATH: program };
    await expect(start()).rejects.toMatchObject({
      code: 'ToolMissing',
      message: expect.stringContaining(`(${program}) did not start: unknown command server`) as string,
    });
  });
});

describe('temporalProgram', () => {
  /** Where nothing is installed, and no download succeeds. */
  function bare(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    const closed = 'http://127.0.0.1:1';
    return {
      HOME: folder,
      PATH: folder,
      HTTPS_PROXY: closed,
      https_proxy: closed,
      CROSSFADE_HOME: join(folder, 'home'),
      ...more,
    };
  }

  it('takes TEMPORAL_CLI_PATH, and refuses one that is no program', async () => {
    const program = await script('other-name', 'exit 0');
    await script('temporal', 'exit 0');
    expect(await temporalProgram(bare({ TEMPORAL_CLI_PATH: program }), quiet)).toBe(program);
    await expect(temporalProgram(bare({ TEMPORAL_CLI_PATH: '/nonexistent' }), quiet)).rejects.toMatchObject({
      code: 'ToolMissing',
      message: expect.stringContaining('TEMPORAL_CLI_PATH=/nonexistent') as string,
    });
  });

  it('takes the one on PATH', async () => {
    const program = await script('temporal', 'exit 0');
    expect(await temporalProgram(bare(), quiet)).toBe(program);
  });

  it("takes the one in Go's bin directory", async () => {
    await mkdir(join(folder, 'go', 'bin'), { recursive: true });
    const program = await script('go/bin/temporal', 'exit 0');
    expect(await temporalProgram(bare(), quiet)).toBe(program);
  });

  it('takes what an earlier download left', async () => {
    const downloads = join(folder, 'home', 'cache', 'download');
    await mkdir(downloads, { recursive: true });
    const program = await script('home/cache/download/temporal-sdk-typescript-1.0.0', 'exit 0');
    await script('home/cache/download/temporal-sdk-typescript-2.0.0.downloading', 'exit 0');
    expect(await temporalProgram(bare(), quiet)).toBe(program);
  });

  it('builds one with Go where the download fails, says so, and keeps it', async () => {
    await script(
      'go',
      `if [ "$1" = env ]; then echo; echo ${join(folder, 'gopath')}; exit 0; fi
       echo "$@" > ${join(folder, 'asked')}
       printf '#!/bin/sh\\n' > "$GOBIN/temporal"; /bin/chmod +x "$GOBIN/temporal"`,
    );
    const lines: string[] = [];
    const program = await temporalProgram(bare(), (line) => lines.push(line));
    expect(program).toBe(join(folder, 'home', 'cache', 'bin', 'temporal'));
    expect(await readFile(join(folder, 'asked'), 'utf8')).toBe(
      'install github.com/temporalio/cli/cmd/temporal@v1.5.1\n',
    );
    expect(lines.join('\n')).toMatch(
      /downloading.*\n.*download failed.*\n.*building.*3 minutes.*\n.*built in/,
    );
    lines.length = 0;
    expect(await temporalProgram(bare(), (line) => lines.push(line))).toBe(program);
    expect(lines).toEqual([]);
  });

  it('says what to install where nothing can be had', async () => {
    await expect(temporalProgram(bare(), quiet)).rejects.toMatchObject({
      code: 'ToolMissing',
      message: expect.stringMatching(
        /install the Temporal CLI .* or set TEMPORAL_CLI_PATH .* or TEMPORAL_ADDRESS/,
      ) as string,
    });
  });
});

async function script(name: string, body: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}
