/** Reading a whole D1 database through Cloudflare's REST API, as plan, copy and verification do, 30 ms away. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { startFaultyProxy } from '../../cloudflare/faults.ts';
import { startD1 } from '../../cloudflare/server.ts';
import { d1Access, d1Address } from '../../src/databases/d1/address.ts';
import { BULK_REQUESTS_PER_WINDOW } from '../../src/databases/d1/budget.ts';
import { D1Client } from '../../src/databases/d1/client.ts';
import { openD1 } from '../../src/databases/d1/open.ts';
import { PAGE_BYTES } from '../../src/databases/d1/table-reader.ts';
import { quoted } from '../../src/databases/identifiers.ts';
import { count, mebibytes } from '../bench.ts';
import { interleave, ratiosTo, type Side } from '../interleave.ts';
import type { Measurement } from '../results.ts';

const ROUND_TRIP_MS = 30;
const OVERLAPPING = 'crossfade, 4 requests at once';
const ONE_BY_ONE = 'crossfade, one request at a time';

export const d1: Measurement = {
  name: 'd1',
  async run(bench) {
    const rows = Math.ceil(bench.options.rows / 2);
    const source = await bench.source(rows);
    const server = await startD1();
    const proxy = await startFaultyProxy(server.env['CLOUDFLARE_API_BASE_URL']!);
    const remove = bench.cleanup.add('stop D1', async () => {
      await proxy.stop();
      await server.stop();
    });
    try {
      proxy.meant = () => proxy.next.push({ before: () => sleep(ROUND_TRIP_MS) }) > 0;
      const { tables, bytes } = load(server.file, source.path);
      const requests: number[] = [];
      const side = (name: string, concurrency: number): Side => ({
        name,
        async run(round) {
          const env = { ...server.env, CLOUDFLARE_API_BASE_URL: proxy.baseUrl };
          const client = await D1Client.open(
            d1Address(server.url, 'the bench'),
            d1Access({ ...env, CROSSFADE_D1_CONCURRENCY: String(concurrency) }),
          );
          const path = join(bench.directory, `mirror-${concurrency}-${round}.sqlite`);
          const { live, close } = openD1(client, path);
          const started = performance.now();
          await live.ready();
          const ms = performance.now() - started;
          close();
          requests.push(client.counts.requests);
          const result = contents(path, tables);
          bench.removeSource({ ...source, path });
          return { ms, units: rows, bytes, result };
        },
      });
      const results = await interleave(
        [side(OVERLAPPING, 4), side(ONE_BY_ONE, 1)],
        bench.options.runs,
        bench.signal,
        bench.onRun('d1'),
      );
      const expected = contents(source.path, tables);
      if (results[0]!.runs.some(({ result }) => result !== expected))
        throw new Error('the mirror has other rows than D1');
      return {
        title: `reading a D1 database whose replies take ${ROUND_TRIP_MS} ms longer`,
        unit: 'rows',
        sides: results,
        ratios: ratiosTo(OVERLAPPING, results, { [ONE_BY_ONE]: 1 }),
        figures: [
          {
            name: 'requests, at most',
            value: Math.max(...requests),
            unit: 'requests',
            // What the bytes need, and for each table a first page, the end of each part, and the schema and log beside it.
            goal: Math.ceil(bytes / PAGE_BYTES) + 6 * tables.length + 6,
          },
        ],
        notes: [
          `${count(rows)} rows in ${tables.length} tables, ${mebibytes(bytes)} of values: ${count(bytes / PAGE_BYTES)} pages of ${PAGE_BYTES / 1_000_000} MB, D1's limit for one row.`,
          `In five minutes at most ${BULK_REQUESTS_PER_WINDOW} requests for whole tables are sent; beyond that a run would wait.`,
        ],
      };
    } finally {
      await remove();
    }
  },
};

/** Copies tables into the file of an idle D1 database. @returns their names, and the bytes of their values */
function load(file: string, path: string): { tables: string[]; bytes: number } {
  const db = new Database(file);
  try {
    db.prepare('ATTACH ? AS other').run(path);
    const tables = db
      .prepare<[], { name: string; sql: string }>(
        `SELECT name, sql FROM other.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name`,
      )
      .all();
    let bytes = 0;
    for (const { name, sql } of tables) {
      db.exec(sql);
      db.exec(`INSERT INTO main.${quoted(name)} SELECT * FROM other.${quoted(name)}`);
      const columns = db.pragma(`table_info(${quoted(name)})`) as { name: string }[];
      const size = columns.map((column) => `ifnull(octet_length(${quoted(column.name)}), 0)`).join(' + ');
      bytes += db
        .prepare(`SELECT sum(${size}) FROM main.${quoted(name)}`)
        .pluck()
        .get() as number;
    }
    db.exec('DETACH other');
    return { tables: tables.map(({ name }) => name), bytes };
  } finally {
    db.close();
  }
}

/** Rows and sums of every table: enough to notice a page that is missing or doubled; test/d1-mirror.test.ts compares every value. */
function contents(path: string, tables: string[]): string {
  const db = new Database(path, { readonly: true });
  try {
    return tables
      .map((name) => {
        const columns = db.pragma(`table_info(${quoted(name)})`) as { name: string }[];
        const sums = columns.map(
          (column) => `total(octet_length(${quoted(column.name)})), total(${quoted(column.name)})`,
        );
        const row = db
          .prepare(`SELECT count(*), ${sums.join(', ')} FROM ${quoted(name)}`)
          .raw()
          .get();
        return `${name}: ${JSON.stringify(row)}`;
      })
      .join('\n');
  } finally {
    db.close();
  }
}
