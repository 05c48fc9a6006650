/** What routers report into the target, as figures; and the probe reads that stand in where no router has registered. */
import type pg from 'pg';
import {
  LATENCY_BUCKET_GROWTH,
  type GateFigures,
  type Plan,
  type Side,
  type TablePlan,
  type TrafficFigures,
  type TrafficSnapshot,
} from '../contract.ts';
import { quoted } from '../databases/identifiers.ts';
import { keyInput, keyColumns, keyTypes, type KeyValue } from '../databases/key.ts';
import { connectTarget } from '../databases/postgres/connection.ts';
import type { Queryable } from '../databases/postgres/control.ts';
import { targetKey, targetTable } from '../databases/postgres/names.ts';
import { openSource } from '../databases/sqlite/connection.ts';
import { rowidOf } from '../databases/sqlite/rowid.ts';
import type { Endpoints } from './endpoints.ts';
import { readCheckpoint, readPlan } from './store.ts';

/** A router that has been silent for longer is gone. */
const ROUTER_SILENCE_MS = 10_000;
/** Reads of one probe, on each database. */
const PROBE_READS = 100;

interface Window {
  side: Side;
  operation: 'read' | 'write';
  count: string;
  errors: string;
  fallbacks: string;
  dual_write_failures: string;
  histogram: Record<string, number> | string | null;
}

/**
 * Sums what routers reported in the last `windowMs`.
 * @param client any connection to the target that may read schema crossfade
 */
export async function readTraffic(client: Queryable, windowMs: number): Promise<TrafficSnapshot> {
  const since = `clock_timestamp() - ${Math.ceil(windowMs)} * interval '1 millisecond'`;
  const { rows } = await client.query(
    `SELECT side, operation, sum(count) AS count, sum(errors) AS errors, sum(fallbacks) AS fallbacks,
            sum(dual_write_failures) AS dual_write_failures,
            (SELECT jsonb_object_agg(bucket, n) FROM (
               SELECT h.key AS bucket, sum(h.value::bigint) AS n
                 FROM crossfade.traffic i, jsonb_each_text(i.histogram) h
                WHERE i.at > ${since} AND i.side = t.side AND i.operation = t.operation GROUP BY h.key) b) AS histogram
       FROM crossfade.traffic t WHERE at > ${since} GROUP BY side, operation`,
  );
  const routers = await client.query(
    `SELECT count(*) AS n FROM crossfade.router WHERE seen_at > now() - ${ROUTER_SILENCE_MS} * interval '1 millisecond'`,
  );
  const windows = rows as unknown as Window[];
  const figures = (side: Side, operation: 'read' | 'write'): TrafficFigures => {
    const window = windows.find((candidate) => candidate.side === side && candidate.operation === operation);
    if (window === undefined) return { count: 0, errors: 0, p50Ms: 0, p95Ms: 0 };
    const histogram =
      typeof window.histogram === 'string'
        ? (JSON.parse(window.histogram) as Record<string, number>)
        : (window.histogram ?? {});
    return {
      count: Number(window.count),
      errors: Number(window.errors),
      p50Ms: quantileMs(histogram, 0.5),
      p95Ms: quantileMs(histogram, 0.95),
    };
  };
  const sum = (field: 'fallbacks' | 'dual_write_failures'): number =>
    windows.reduce((total, window) => total + Number(window[field]), 0);
  return {
    routers: Number(routers.rows[0]?.['n'] ?? 0),
    windowMs,
    reads: { source: figures('source', 'read'), target: figures('target', 'read') },
    writes: { source: figures('source', 'write'), target: figures('target', 'write') },
    fallbacks: sum('fallbacks'),
    dualWriteFailures: sum('dual_write_failures'),
  };
}

/** Upper edge of the bucket in which the quantile lies, in ms. */
export function quantileMs(histogram: Record<string, number>, quantile: number): number {
  const buckets = Object.entries(histogram)
    .map(([bucket, count]) => [Number(bucket), Number(count)] as const)
    .sort((a, b) => a[0] - b[0]);
  const total = buckets.reduce((sum, [, count]) => sum + count, 0);
  let left = total * quantile;
  for (const [bucket, count] of buckets) {
    left -= count;
    if (left <= 0) return LATENCY_BUCKET_GROWTH ** (bucket + 1) / 1_000;
  }
  return 0;
}

/** Figures by which a stage of the last `windowMs` is judged. */
export async function stageFigures(
  endpoints: Endpoints,
  windowMs: number,
): Promise<Omit<GateFigures, 'mismatches'>> {
  const client = await connectTarget(endpoints.targetUrl, { applicationName: 'crossfade gate' });
  try {
    const traffic = await readTraffic(client, windowMs);
    const { lagMs } = await readCheckpoint(client);
    const { rows } = await client.query<{ n: string }>('SELECT count(*) AS n FROM crossfade.quarantine');
    const registered = await client.query('SELECT 1 FROM crossfade.router LIMIT 1');
    const byRouters = registered.rowCount === 1;
    return {
      judgedBy: byRouters ? 'routers' : 'probes',
      reads: byRouters ? traffic.reads : await probe(endpoints, client, await readPlan(client)),
      lagMs: Math.round(lagMs ?? Number.MAX_SAFE_INTEGER),
      quarantined: Number(rows[0]?.n ?? 0),
    };
  } finally {
    await client.end();
  }
}

/** Reads random rows by key from both databases and measures them. */
async function probe(
  endpoints: Endpoints,
  client: pg.Client,
  plan: Plan,
): Promise<Record<Side, TrafficFigures>> {
  const db = openSource(endpoints.sourcePath, 'read');
  const latencies: Record<Side, number[]> = { source: [], target: [] };
  let errors = 0;
  try {
    const tables = plan.tables.filter((table) => table.rows > 0);
    for (let i = 0; i < PROBE_READS && tables.length > 0; i++) {
      const table = tables[i % tables.length]!;
      const key = firstKeyAfterRandom(db, table);
      if (key === null) continue;
      latencies.source.push(await timed(() => Promise.resolve(readSource(db, table, key))));
      try {
        latencies.target.push(await timed(() => readTarget(client, table, key)));
      } catch {
        // Counted: the gate decides what a failing read means.
        errors++;
      }
    }
  } finally {
    db.close();
  }
  return { source: summary(latencies.source, 0), target: summary(latencies.target, errors) };
}

function firstKeyAfterRandom(db: ReturnType<typeof openSource>, table: TablePlan): KeyValue[] | null {
  const keys = table.key.map(quoted).join(', ');
  const from = `FROM ${quoted(table.name)}`;
  const rowid = table.withoutRowid ? '' : rowidOf(table);
  const sql = table.withoutRowid
    ? `SELECT ${keys} ${from} LIMIT 1`
    : `SELECT ${keys} ${from} WHERE ${rowid} >= (SELECT abs(random()) % (max(${rowid}) + 1) ${from}) LIMIT 1`;
  return (db.prepare(sql).safeIntegers().raw().get() as KeyValue[] | undefined) ?? null;
}

function readSource(db: ReturnType<typeof openSource>, table: TablePlan, key: KeyValue[]): unknown {
  const where = table.key.map((name) => `${quoted(name)} = ?`).join(' AND ');
  return db
    .prepare(`SELECT * FROM ${quoted(table.name)} WHERE ${where}`)
    .safeIntegers()
    .get(...key);
}

async function readTarget(client: pg.Client, table: TablePlan, key: KeyValue[]): Promise<unknown> {
  const types = keyTypes(table);
  const where = targetKey(table)
    .map((name, i) => `${name} = $${i + 1}::${types[i]!}`)
    .join(' AND ');
  const values = keyColumns(table).map((column, i) => keyInput(key[i]!, column));
  return client.query(`SELECT * FROM ${targetTable(table)} WHERE ${where}`, values);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function summary(latencies: number[], errors: number): TrafficFigures {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (quantile: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? 0;
  return { count: sorted.length + errors, errors, p50Ms: at(0.5), p95Ms: at(0.95) };
}
