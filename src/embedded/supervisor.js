// @ts-check
/**
 * Runs one server and outlives its parent just long enough to stop it. It is started in a session of its own, so that
 * Ctrl-C in the terminal does not reach the server, and with a channel to its parent: when the channel closes, for
 * whatever reason, kill -9 included, the server is stopped. Plain JavaScript, so that it runs from sources and from dist.
 *
 * argv[2] is JSON: { command, args, stopSignal, graceMs, cwd?, uid?, gid? }. The environment is the server's.
 * Messages to the parent: { pid } | { exited: { code, signal } } | { failed: message }. From the parent: 'stop'.
 */
import { spawn } from 'node:child_process';
import { onParentGone } from '../parent.js';

const options = JSON.parse(process.argv[2] ?? '{}');

const child = spawn(options.command, options.args, {
  stdio: ['ignore', 'inherit', 'inherit'],
  cwd: options.cwd,
  ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.gid }),
});

let stopping = false;

function stop() {
  if (stopping) return;
  stopping = true;
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(options.stopSignal);
  setTimeout(() => child.kill('SIGKILL'), options.graceMs).unref();
}

/**
 * @param {object} message
 * @param {() => void} [then]
 */
function tell(message, then) {
  if (process.connected) process.send?.(message, () => then?.());
}

function disconnect() {
  if (process.connected) process.disconnect();
}

child.on('spawn', () => tell({ pid: child.pid }));
child.on('error', (error) => tell({ failed: error.message }, disconnect));
child.on('exit', (code, signal) => tell({ exited: { code, signal } }, disconnect));

process.on('message', stop);
onParentGone(stop);
// Asked to end by someone else (a shutdown of the machine): the server first.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, stop);
