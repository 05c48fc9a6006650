/** Keeps a file system in memory mounted until it is asked to end. argv: mount point, size. */
import { spawnSync } from 'node:child_process';
import { KEPT } from './keep.ts';

const [path = '', size = ''] = process.argv.slice(2);

process.once('SIGTERM', () => {
  // Lazily: a server that was killed may not have let go of it yet.
  const { status } = spawnSync('umount', ['-l', path], { stdio: 'inherit' });
  process.exit(status ?? 1);
});
// Whoever would read it may be gone, and the file system has to go all the same.
process.stdout.on('error', () => undefined);

const mount = ['-t', 'tmpfs', '-o', `size=${size}`, 'crossfade-chaos', path];
const { status, error } = spawnSync('mount', mount, { stdio: 'inherit' });
if (error !== undefined) process.stderr.write(`${error.message}\n`);
if (status !== 0) process.exit(1);
process.stdout.write(`${KEPT}\n`);
setInterval(() => undefined, 2 ** 31 - 1);
