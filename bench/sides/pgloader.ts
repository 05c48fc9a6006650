/** pgloader, told to load the rows only, where tables and primary keys are there, or everything. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectionConfig } from '../../src/databases/postgres/connection.ts';
import type { Side } from '../interleave.ts';
import { findProgram, runShell } from '../programs.ts';
import { createBareTables } from '../tables.ts';
import type { CopyWork } from './copy-work.ts';

const OPTIONS = {
  rows: 'data only, create no tables, create no indexes, no foreign keys, reset no sequences, include no drop',
  everything: 'create tables, create indexes, foreign keys, reset sequences, include drop',
};

export function pgloader(name: string, work: CopyWork, what: keyof typeof OPTIONS = 'rows'): Side {
  const { bench, source } = work;
  return {
    name,
    ...(findProgram('pgloader') === undefined ? { unavailable: 'pgloader not installed' } : {}),
    run: () =>
      work.measure(
        name,
        (url) => (what === 'rows' ? createBareTables(url, source.plan) : Promise.resolve()),
        (url) => {
          const target = new URL(url);
          target.search = connectionConfig(url).ssl === false ? 'sslmode=disable' : 'sslmode=require';
          // The URL may hold a password: a file keeps it from the command line.
          const script = join(bench.directory, 'pgloader.load');
          writeFileSync(
            script,
            `LOAD DATABASE FROM sqlite://${source.path} INTO ${target.toString()}\n` +
              `WITH ${OPTIONS[what]};\n`,
            { mode: 0o600 },
          );
          chmodSync(script, 0o600);
          return runShell(
            'pgloader --quiet --root-dir "$2" "$1"',
            [script, bench.directory],
            process.env,
            bench.signal,
          );
        },
        // Left to itself it makes REAL columns of four bytes.
        what === 'rows' ? 'values' : 'rows',
      ),
  };
}
