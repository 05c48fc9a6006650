/**
 * The application of the tests: each request makes a DatabaseConnection and runs the operations of its body, one after the
 * other or, with `together`, all at once. The answer has what each gave.
 */
import {
  DatabaseConnection,
  type Alert,
  type D1Database,
  type DatabaseConnectionOptions,
  type Operation,
  type ReadOptions,
  type Value,
  type WorkerContext,
} from 'crossfade/workers';
import { fromJson, toJson } from '../../../cloudflare/json.ts';

export interface Step extends ReadOptions {
  do: 'query' | 'write' | 'batch' | 'transaction' | 'primary';
  sql?: string;
  params?: readonly Value[];
  operations?: readonly Operation[];
}

export interface Body {
  steps: Step[];
  together?: boolean;
  options?: Partial<
    Pick<DatabaseConnectionOptions, 'cacheMs' | 'fenceTimeoutMs' | 'session' | 'shadowReads' | 'reportMs'>
  >;
  /** Answers when everything that goes on after a response is done. */
  closed?: boolean;
  /** Without the target. */
  alone?: boolean;
  /** What happens to the batch of D1 with this number, from 0. */
  d1Fails?: { batch: number; after: boolean; message: string };
}

export interface Answer {
  results: { value?: unknown; error?: { code?: string; message: string } }[];
  session?: string;
  stats: ReturnType<DatabaseConnection['stats']>;
  alerts: Alert[];
  /** Batches sent to D1. */
  batches: number;
}

/** Of all requests: some come after their response. */
const alerts: Alert[] = [];

interface Env {
  DB: D1Database;
  TARGET: string;
}

export default {
  async fetch(request: Request, env: Env, ctx: WorkerContext): Promise<Response> {
    const body = fromJson(await request.text()) as Body;
    const { source, counted } = watched(env.DB, body.d1Fails);
    const db = new DatabaseConnection({
      source,
      ...(body.alone === true ? {} : { target: env.TARGET }),
      ctx,
      logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
      onAlert: (alert) => alerts.push(alert),
      ...body.options,
    });
    const run = async (step: Step): Promise<Answer['results'][number]> => {
      try {
        return { value: await runStep(db, step) };
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        return { error: { message, ...(code === undefined ? {} : { code }) } };
      }
    };
    const results: Answer['results'] = [];
    if (body.together === true) results.push(...(await Promise.all(body.steps.map(run))));
    else for (const step of body.steps) results.push(await run(step));
    const session = db.session();
    if (body.closed === true) await db.close();
    else ctx.waitUntil(db.close());
    const answer: Answer = {
      results,
      ...(session === undefined ? {} : { session }),
      stats: db.stats(),
      alerts: alerts.splice(0),
      batches: counted.batches,
    };
    return new Response(toJson(answer));
  },
};

async function runStep(db: DatabaseConnection, step: Step): Promise<unknown> {
  const { sql = '', params = [], operations = [], key, primary } = step;
  const options = { ...(key === undefined ? {} : { key }), ...(primary === undefined ? {} : { primary }) };
  switch (step.do) {
    case 'query':
      return db.query(sql, params, options);
    case 'write':
      return db.write(sql, params, options);
    case 'batch':
      return db.batch(operations, options);
    case 'transaction':
      return db.transaction(async (tx) => {
        await tx.query('SELECT 1 AS one');
        return tx.write(sql, params);
      }, options);
    case 'primary':
      return db.primary();
  }
}

interface Watch {
  source: D1Database;
  counted: { batches: number };
  fails: Body['d1Fails'];
}

const watches = new WeakMap<D1Database, Watch>();

/** The binding, its batches counted; one for all requests, as the binding itself is. */
function watched(db: D1Database, fails: Body['d1Fails']): Watch {
  const watch = watches.get(db) ?? newWatch(db);
  watches.set(db, watch);
  watch.counted.batches = 0;
  watch.fails = fails;
  return watch;
}

function newWatch(db: D1Database): Watch {
  const watch: Watch = {
    counted: { batches: 0 },
    fails: undefined,
    source: {
      prepare: (sql) => db.prepare(sql),
      batch: async (statements) => {
        const failure = watch.fails?.batch === watch.counted.batches ? watch.fails : undefined;
        watch.counted.batches += 1;
        if (failure?.after === false) throw new Error(failure.message);
        const results = await db.batch(statements);
        if (failure !== undefined) throw new Error(failure.message);
        return results;
      },
    },
  };
  return watch;
}
