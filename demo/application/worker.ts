/** The application's Worker: each request is one operation of a user, through crossfade's router. */
import { fromJson, toJson } from '../../cloudflare/json.ts';
import {
  DatabaseConnection,
  type AlertKind,
  type D1Database,
  type WorkerContext,
} from '../../src/workers/index.ts';
import type { Answer, Asked } from './worker-messages.ts';

interface Env {
  DB: D1Database;
  TARGET: string;
}

/** Of all requests: some come after their response. */
const alerts: AlertKind[] = [];

export default {
  async fetch(request: Request, env: Env, ctx: WorkerContext): Promise<Response> {
    const asked = fromJson(await request.text()) as Asked;
    const db = new DatabaseConnection({
      source: env.DB,
      target: env.TARGET,
      ctx,
      session: asked.session,
      onAlert: ({ kind }) => alerts.push(kind),
    });
    let result: Pick<Answer, 'value' | 'error'>;
    try {
      result = { value: await run(db, asked) };
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      result = { error: { message, ...(code === undefined ? {} : { code }) } };
    }
    const session = db.session();
    ctx.waitUntil(db.close());
    const answer: Answer = {
      ...result,
      primary: db.primary(),
      ...(session === undefined ? {} : { session }),
      alerts: alerts.splice(0),
    };
    return new Response(toJson(answer));
  },
};

async function run(db: DatabaseConnection, { do: what, operations, options }: Asked): Promise<unknown> {
  const [{ sql, params } = { sql: '' }] = operations;
  switch (what) {
    case 'query':
      return db.query(sql, params, options);
    case 'write':
      return db.write(sql, params, options);
    case 'batch':
      return db.batch(operations, options);
  }
}
