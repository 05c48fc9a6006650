/** A Worker that knows nothing of crossfade and writes to D1 through its binding, one batch for each request. */
import type { D1Database } from 'crossfade/workers';
import type { Answer, Asked } from './worker-messages.ts';

/**
 * The fence's triggers see rows: a statement that matches none is not refused, and the client has to look. D1 has no
 * transaction in which it could, so the batch itself fails where a statement changes nothing that had to.
 */
const CHANGED = `SELECT CASE WHEN changes() = 0 THEN json_extract('{}', 'no such row') END`;

export default {
  async fetch(request: Request, { DB }: { DB: D1Database }): Promise<Response> {
    const { statements } = (await request.json()) as Asked;
    const batch = statements.flatMap(({ sql, params, mayChangeNothing }) => {
      const statement = DB.prepare(typeof sql === 'string' ? sql : sql.sqlite).bind(...params);
      return mayChangeNothing === true ? [statement] : [statement, DB.prepare(CHANGED)];
    });
    try {
      await DB.batch(batch);
      return Response.json({} satisfies Answer);
    } catch (error) {
      const { message } = error as Error;
      const [code] = /\bSQLITE_[A-Z_]+/.exec(message) ?? [];
      return Response.json({
        error: { message, ...(code === undefined ? {} : { code }) },
      } satisfies Answer);
    }
  },
};
