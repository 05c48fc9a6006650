/** Keeps processes stopped, with all that they have started, until it is asked to end. argv: process ids. */
import { execFileSync } from 'node:child_process';
import { signalProcess } from '../src/embedded/processes.ts';
import { KEPT } from './keep.ts';

const stopped: number[] = [];

process.once('SIGTERM', () => {
  for (const pid of stopped.toReversed()) signalProcess(pid, 'SIGCONT');
  process.exit();
});
// Whoever would read it may be gone, and the processes have to go on all the same.
process.stdout.on('error', () => undefined);

// A process that is stopped starts no other one, so that none escapes.
for (let next = process.argv.slice(2).map(Number); next.length > 0; next = childrenOf(next)) {
  for (const pid of next) {
    stopped.push(pid);
    signalProcess(pid, 'SIGSTOP');
  }
}
process.stdout.write(`${KEPT}\n`);
setInterval(() => undefined, 2 ** 31 - 1);

function childrenOf(parents: number[]): number[] {
  return execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number) as [number, number])
    .filter(([, parent]) => parents.includes(parent))
    .map(([pid]) => pid);
}
