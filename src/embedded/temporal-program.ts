/** Finds Temporal's command line program, which contains the dev server, or obtains it. */
import { execFile } from 'node:child_process';
import { access, constants, readdir, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CrossfadeError } from '../errors.ts';
import { directories, privateDirectory } from './directories.ts';
import { supervise } from './supervise.ts';

const run = promisify(execFile);

const GO_MODULE = 'github.com/temporalio/cli/cmd/temporal@v1.5.1';
/** A download that has not begun by then meets a firewall that drops packets. */
const DOWNLOAD_BEGINS_MS = 20_000;
const DOWNLOAD_ENDS_MS = 5 * 60_000;

const WAYS_OUT =
  'install the Temporal CLI (https://docs.temporal.io/cli#install), or set TEMPORAL_CLI_PATH to it, ' +
  'or TEMPORAL_ADDRESS to a server that runs';

/**
 * Path of the `temporal` program: TEMPORAL_CLI_PATH, PATH, what an earlier run obtained, Go's bin directory, the SDK's
 * own download, `go install`. The last two are kept in the user's cache directory.
 * @throws CrossfadeError ToolMissing that says what to install
 */
export async function temporalProgram(
  env: NodeJS.ProcessEnv,
  onLine: (line: string) => void,
): Promise<string> {
  const named = env['TEMPORAL_CLI_PATH'];
  if (named !== undefined && named !== '') {
    if (await executable(named)) return named;
    throw new CrossfadeError(
      'ToolMissing',
      `TEMPORAL_CLI_PATH=${named} is not a program: correct or unset it`,
    );
  }
  const { cache } = directories(env);
  const downloads = join(cache, 'download');
  const built = join(cache, 'bin', 'temporal');
  const go = await onPath(env, 'go');
  return (
    (await onPath(env, 'temporal')) ??
    (await downloaded(downloads)) ??
    (await firstExecutable([
      built,
      ...(await goBinDirectories(go, env)).map((dir) => join(dir, 'temporal')),
    ])) ??
    (await download(downloads, env, onLine)) ??
    (await goInstall(go, built, env, onLine)) ??
    missing()
  );
}

function missing(): never {
  throw new CrossfadeError(
    'ToolMissing',
    `Temporal's dev server was not found, and could be neither downloaded nor built: ${WAYS_OUT}`,
  );
}

async function executable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

async function firstExecutable(paths: string[]): Promise<string | undefined> {
  for (const path of paths) if (await executable(path)) return path;
  return undefined;
}

function onPath(env: NodeJS.ProcessEnv, name: string): Promise<string | undefined> {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return firstExecutable(folders.map((folder) => join(folder, name)));
}

async function goBinDirectories(go: string | undefined, env: NodeJS.ProcessEnv): Promise<string[]> {
  const usual = [join(env['HOME'] ?? homedir(), 'go', 'bin')];
  if (go === undefined) return usual;
  try {
    const { stdout } = await run(go, ['env', 'GOBIN', 'GOPATH'], { env });
    const [bin = '', path = ''] = stdout.split('\n');
    return [
      bin,
      ...path.split(delimiter).map((part) => (part === '' ? '' : join(part, 'bin'))),
      ...usual,
    ].filter((folder) => folder !== '');
  } catch {
    // A broken Go is no reason to stop: the next ways may work, and `go install` would report it.
    return usual;
  }
}

/** The program that an earlier download left, whichever version of the SDK made it. */
async function downloaded(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch(() => []);
  const programs = names
    .filter((name) => name.startsWith('temporal-') && !name.endsWith('.downloading'))
    .sort();
  return firstExecutable(programs.reverse().map((name) => join(folder, name)));
}

async function download(
  folder: string,
  env: NodeJS.ProcessEnv,
  onLine: (line: string) => void,
): Promise<string | undefined> {
  onLine("downloading Temporal's dev server (about 50 MB, once) …");
  await privateDirectory(folder);
  const lines: string[] = [];
  const script = fileURLToPath(new URL('./temporal-download.js', import.meta.url));
  const downloader = await supervise({
    name: 'the download of Temporal',
    command: process.execPath,
    args: [script, folder],
    env,
    onLine: (line) => lines.push(line),
  });
  const began = performance.now();
  let ended = false;
  const exited = downloader.exited.then((exit) => {
    ended = true;
    return exit;
  });
  while (!ended) {
    await Promise.race([exited, sleep(250)]);
    const waited = performance.now() - began;
    const begun = waited < DOWNLOAD_BEGINS_MS || (await readdir(folder)).length > 0;
    if (!ended && (!begun || waited > DOWNLOAD_ENDS_MS)) {
      lines.push(begun ? 'it takes too long' : 'no answer');
      await downloader.stop();
    }
  }
  const program = await downloaded(folder);
  if (program !== undefined) return program;
  // A half-written file would make the next attempt wait for its writer.
  for (const name of await readdir(folder)) if (name.endsWith('.downloading')) await rm(join(folder, name));
  onLine(`the download failed (${reasonIn(lines)})`);
  return undefined;
}

async function goInstall(
  go: string | undefined,
  built: string,
  env: NodeJS.ProcessEnv,
  onLine: (line: string) => void,
): Promise<string | undefined> {
  if (go === undefined) return undefined;
  onLine(`building Temporal's dev server with Go (about 3 minutes, once): go install ${GO_MODULE}`);
  const began = performance.now();
  const lines: string[] = [];
  const builder = await supervise({
    name: 'go install',
    command: go,
    args: ['install', GO_MODULE],
    env: { ...env, GOBIN: await privateDirectory(built, '..') },
    onLine: (line) => lines.push(line),
  });
  const ticker = setInterval(() => onLine(`… still building, ${seconds(began)} s`), 30_000);
  const exit = await builder.exited.finally(() => clearInterval(ticker));
  if (exit.code === 0 && (await executable(built))) {
    onLine(`built in ${seconds(began)} s: ${built}`);
    return built;
  }
  throw new CrossfadeError('ToolMissing', `go install ${GO_MODULE} failed (${reasonIn(lines)}): ${WAYS_OUT}`);
}

function seconds(began: number): number {
  return Math.round((performance.now() - began) / 1_000);
}

/** The line of a failed program's output that says most: one that speaks of an error, else the last. */
function reasonIn(lines: string[]): string {
  const line =
    lines.findLast((text) => /error|failed|denied|refused/i.test(text)) ?? lines.at(-1) ?? 'no output';
  return line
    .replace('Failed to start ephemeral server: failed to download ephemeral server executable: ', '')
    .replace(/ for url \(https?:\/\/([^/?)]+).*$/, ' to $1')
    .trim()
    .slice(0, 200);
}
