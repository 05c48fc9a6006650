/** Starts a process that is never left behind: it ends with `stop`, and with this process, however this one ends. */
import { fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CrossfadeError, messageOf } from '../errors.ts';
import { signalProcess } from './processes.ts';

export interface SuperviseOptions {
  /** Word for messages: `Temporal`, `PostgreSQL`. */
  name: string;
  command: string;
  args: string[];
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** User and group of the process; only root may choose. */
  uid?: number;
  gid?: number;
  /** Asks the process to stop; SIGKILL follows after `graceMs`. */
  stopSignal?: NodeJS.Signals;
  graceMs?: number;
  /** Each line that the process prints, from either stream. */
  onLine?(line: string): void;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Supervised {
  /** Of the process itself, not of its supervisor. */
  pid: number;
  /** Resolves when the process has ended, asked or not. */
  exited: Promise<Exit>;
  /** Rejects when the process has ended without having been asked to; never resolves. */
  failed: Promise<never>;
  /** The last lines that it printed, oldest first. */
  tail: readonly string[];
  /** Asks the process to stop and resolves when it is gone. May be called again. */
  stop(): Promise<void>;
}

const TAIL = 20;

type Message = { pid: number } | { exited: Exit } | { failed: string };

/**
 * Starts `command` under a supervisor in a session of its own, which stops it when this process ends.
 * @throws CrossfadeError ToolMissing where the command cannot be started
 */
export async function supervise(options: SuperviseOptions): Promise<Supervised> {
  const { name, command, args, cwd, uid, gid, onLine } = options;
  const orders = {
    command,
    args,
    cwd,
    uid,
    gid,
    stopSignal: options.stopSignal ?? 'SIGTERM',
    graceMs: options.graceMs ?? 5_000,
  };
  const supervisor = fork(
    fileURLToPath(new URL('./supervisor.js', import.meta.url)),
    [JSON.stringify(orders)],
    {
      detached: true,
      // Not the flags of this process: a debugger's port can be had only once.
      execArgv: [],
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    },
  );
  const tail: string[] = [];
  let lastError: string | undefined;
  for (const stream of [supervisor.stdout, supervisor.stderr]) {
    // Read even where nobody listens: a full pipe would stop the server.
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      if (stream === supervisor.stderr) lastError = line;
      tail.push(line);
      if (tail.length > TAIL) tail.shift();
      onLine?.(line);
    });
  }

  let pid = 0;
  let exit: Exit | undefined;
  const started = new Promise<void>((resolve, reject) => {
    const refuse = (why: string, cause?: unknown): void =>
      reject(new CrossfadeError('ToolMissing', `${name} cannot be started (${command}): ${why}`, cause));
    supervisor.on('message', (message: Message) => {
      if ('pid' in message) {
        pid = message.pid;
        resolve();
      } else if ('exited' in message) {
        exit = message.exited;
      } else {
        refuse(message.failed);
      }
    });
    supervisor.on('error', (error) => refuse(messageOf(error), error));
    supervisor.on('exit', () => refuse('its supervisor ended at once'));
  });
  const ended = new Promise<void>((resolve) => supervisor.once('exit', () => resolve()));
  // The last message may arrive after the exit; it is certainly there once the channel is closed.
  const drained = new Promise<void>((resolve) => supervisor.once('disconnect', resolve));
  const exited = Promise.all([ended, drained]).then((): Exit => {
    // A supervisor that was killed cannot have stopped its process.
    if (exit === undefined && pid !== 0) signalProcess(pid, 'SIGKILL');
    return exit ?? { code: null, signal: null };
  });
  await started;

  let stopping = false;
  const failed = exited.then(({ code, signal }): Promise<never> => {
    if (stopping) return never();
    const how = signal ?? `status ${String(code)}`;
    const why = lastError === undefined ? '' : `: ${lastError}`;
    throw new CrossfadeError('Internal', `${name} ended by itself (${how})${why}`);
  });
  // Nobody has to look at it.
  failed.catch(() => undefined);

  return {
    pid,
    exited,
    failed,
    tail,
    async stop() {
      stopping = true;
      // A channel that is closed already has told the supervisor to stop.
      if (supervisor.connected) supervisor.send('stop', () => undefined);
      await exited;
    },
  };
}

/** The `failed` of what cannot fail. */
export function never(): Promise<never> {
  return new Promise<never>(() => undefined);
}

const SYSTEM_VARIABLES = ['PATH', 'HOME', 'USER', 'TMPDIR', 'TZ', 'LANG', 'LC_ALL', 'LD_LIBRARY_PATH'];

/** What a server needs of the environment: the URLs and passwords in it are none of its business. */
export function systemEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    SYSTEM_VARIABLES.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
}
