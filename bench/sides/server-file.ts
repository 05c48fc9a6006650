/** The limit: the server alone, with the text ready on its disk and nothing on the wire. */
import { chmodSync, closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TablePlan } from '../../src/contract.ts';
import { literal, quoted } from '../../src/databases/identifiers.ts';
import type { KeyValue } from '../../src/databases/key.ts';
import { ChunkReader } from '../../src/databases/sqlite/chunk.ts';
import { CopyBuffer } from '../../src/databases/sqlite/copy-buffer.ts';
import { openSource } from '../../src/databases/sqlite/connection.ts';
import { messageOf } from '../../src/errors.ts';
import type { Side } from '../interleave.ts';
import { columnList, createBareTables } from '../tables.ts';
import { withClient } from '../target.ts';
import type { CopyWork } from './copy-work.ts';

const ROWS_PER_READ = 5_000;

export async function serverFile(name: string, work: CopyWork): Promise<Side> {
  const { bench, source } = work;
  const files = writeTextFiles(source.path, source.plan.tables, bench.directory);
  const unavailable = await unreadable(bench.server.url, [...files.values()]);
  return {
    name,
    ...(unavailable === null ? {} : { unavailable }),
    run: () =>
      work.measure(
        name,
        (url) => createBareTables(url, source.plan),
        async (url) => {
          const started = performance.now();
          await withClient(url, async (client) => {
            for (const [table, file] of files) {
              const into = `public.${quoted(table.name)} (${columnList(table)})`;
              await client.query(`COPY ${into} FROM ${literal(file)}`);
            }
          });
          return { ms: performance.now() - started };
        },
      ),
  };
}

/** Writes each table as COPY text, in key order. */
function writeTextFiles(path: string, tables: TablePlan[], directory: string): Map<TablePlan, string> {
  const files = new Map<TablePlan, string>();
  const db = openSource(path, 'read');
  try {
    for (const table of tables) {
      const file = join(directory, `${table.id}.copy`);
      const descriptor = openSync(file, 'w');
      try {
        const reader = new ChunkReader(db, table);
        const text = new CopyBuffer();
        let last: KeyValue[] | null = null;
        do {
          last = reader.read(last, reader.rowLimit(ROWS_PER_READ), text).last;
          writeFileSync(descriptor, text.contents);
          text.clear();
        } while (last !== null);
      } finally {
        closeSync(descriptor);
      }
      // The server may run as another user.
      chmodSync(file, 0o644);
      files.set(table, file);
    }
  } finally {
    db.close();
  }
  return files;
}

/** Why the server cannot read the files: it runs elsewhere, or the role may not; null where it can. */
async function unreadable(url: string, files: string[]): Promise<string | null> {
  try {
    await withClient(url, (client) =>
      client.query(
        'SELECT pg_stat_file(path), pg_read_binary_file(path, 0, 1) FROM unnest($1::text[]) path',
        [files],
      ),
    );
    return null;
  } catch (error) {
    return `the server cannot read a file of this machine: ${messageOf(error)}`;
  }
}
