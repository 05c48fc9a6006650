/** An application's Worker that writes through crossfade's router: one request, one operation or one read. */
import {
  DatabaseConnection,
  type D1Database,
  type Sql,
  type Value,
  type WorkerContext,
} from 'crossfade/workers';
import type { Answer, Asked } from './worker-messages.ts';

interface Env {
  DB: D1Database;
  TARGET: string;
}

/** Answers of the binding that are still to be lost. */
let lose = 0;
const bindings = new WeakMap<D1Database, D1Database>();

export default {
  async fetch(request: Request, env: Env, ctx: WorkerContext): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith('/lose/')) {
      lose = Number(pathname.slice('/lose/'.length));
      return new Response();
    }
    const asked = (await request.json()) as Asked;
    const db = new DatabaseConnection({
      source: losing(env.DB),
      target: env.TARGET,
      ctx,
      session: asked.session ?? null,
      reportMs: 500,
    });
    let answer: Answer;
    try {
      answer = { rows: await run(db, asked) };
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      answer = { error: { message, ...(code === undefined ? {} : { code }) } };
    }
    const session = db.session();
    ctx.waitUntil(db.close());
    return Response.json({ ...answer, ...(session === undefined ? {} : { session }) } satisfies Answer);
  },
};

async function run(
  db: DatabaseConnection,
  { read, statements, pauseMs = 0, key }: Asked,
): Promise<Record<string, unknown>[]> {
  const options = key === undefined ? {} : { key };
  if (read !== undefined) return db.query(read.sql, read.params, options);
  const [first, ...others] = statements;
  if (first === undefined) return [];
  if (others.length === 0) await db.write(first.sql, first.params, options);
  else if (pauseMs === 0 || !(await slowly(db, statements, pauseMs, options)))
    await db.batch(statements, options);
  return [];
}

/** A transaction that stays open for a while. @returns false where D1 is the primary, which has none */
async function slowly(
  db: DatabaseConnection,
  statements: { sql: Sql; params: readonly Value[] }[],
  pauseMs: number,
  options: { key?: string },
): Promise<boolean> {
  try {
    await db.transaction(async (tx) => {
      for (const { sql, params } of statements) {
        await tx.write(sql, params);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }, options);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'InvalidInput') return false;
    throw error;
  }
}

/** The binding; one for all requests, as it is itself, because the router knows the database by it. */
function losing(db: D1Database): D1Database {
  const known = bindings.get(db);
  if (known !== undefined) return known;
  const binding: D1Database = {
    prepare: (sql) => db.prepare(sql),
    batch: async (statements) => {
      const results = await db.batch(statements);
      if (lose > 0) {
        lose--;
        throw new Error('D1_ERROR: Network connection lost.');
      }
      return results;
    },
  };
  bindings.set(db, binding);
  return binding;
}
