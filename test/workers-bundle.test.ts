import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bundleWorker, type Bundle } from '../cloudflare/bundle-worker.ts';

const ROOT = join(import.meta.dirname, '..');
/** A Worker that does nothing but import the router. */
const ENTRY = { text: `export * from 'crossfade/workers'; export default {};` };

let bundle: Bundle;

beforeAll(async () => {
  bundle = await bundleWorker(ENTRY, true);
});

it('has nothing of Node that Workers lack', () => {
  const inputs = Object.keys(bundle.metafile.inputs);
  expect(
    inputs.filter((name) => /better-sqlite3|pino|temporal|src\/(?:engine|cli|embedded)\//.test(name)),
  ).toEqual([]);
  const { imports } = Object.values(bundle.metafile.outputs)[0]!;
  expect([...new Set(imports.map(({ path }) => path))].sort()).toEqual([
    'cloudflare:sockets',
    'node:async_hooks',
    'node:buffer',
    'node:crypto',
    'node:dns',
    'node:events',
    // Of pg, for certificates that a URL names and for .pgpass.
    'node:fs',
    'node:net',
    'node:path',
    'node:stream',
    'node:string_decoder',
    'node:timers/promises',
    'node:tls',
    'node:util',
    'node:util/types',
    // Never asked for: pg looks for it where somebody names `native`.
    'pg-native',
  ]);
});

it('is as large as the guide says', () => {
  const kib = (bytes: number): number => bytes / 1_024;
  const guide = readFileSync(join(ROOT, 'docs/workers.md'), 'utf8');
  const [, whole, zipped] = /(\d+) KiB, (\d+) KiB compressed/.exec(guide)!;
  expect(Math.abs(kib(bundle.code.length) - Number(whole))).toBeLessThan(10);
  expect(Math.abs(kib(gzipSync(bundle.code).length) - Number(zipped))).toBeLessThan(5);
});

it('is what the package exports', () => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, { types: string; default: string }>;
  };
  expect(exports['./workers']).toEqual({
    types: './dist/src/workers/index.d.ts',
    default: './dist/src/workers/index.js',
  });
});
