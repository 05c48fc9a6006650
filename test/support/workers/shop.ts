/**
 * A small application: notes of users, and sales that count up a product. Each statement says, in the dialect that was run,
 * which database ran it; the rows keep it in `place`.
 */
import {
  DatabaseConnection,
  type D1Database,
  type Sql,
  type Value,
  type WorkerContext,
} from 'crossfade/workers';

export type Place = 'D1' | 'PostgreSQL';

export const SHOP_TABLES = [
  `CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, label TEXT UNIQUE NOT NULL,
     version INTEGER NOT NULL, place TEXT NOT NULL)`,
  'CREATE TABLE product (id INTEGER PRIMARY KEY, sold INTEGER NOT NULL)',
  `CREATE TABLE sale (id INTEGER PRIMARY KEY AUTOINCREMENT, product INTEGER NOT NULL REFERENCES product (id), user TEXT NOT NULL,
     number INTEGER NOT NULL, place TEXT NOT NULL)`,
];

export interface Note {
  id: number;
  label: string;
  version: number;
  place: Place;
}

export interface Written {
  id: number;
  place: Place;
}

/** What a user sees. */
export interface Page {
  notes: Note[];
  sales: number;
  place: Place;
}

export type ShopStatistics = ReturnType<DatabaseConnection['stats']>;

interface Env {
  DB: D1Database;
  TARGET: string;
}

/** @param sql with PLACE where the name of the database goes */
function placed(sql: string): Sql {
  return {
    sqlite: sql.replaceAll('PLACE', `'D1'`),
    postgres: sql.replaceAll('PLACE', `'PostgreSQL'`).replaceAll(/\buser\b/g, '"user"'),
  };
}

const INSERT = placed(
  'INSERT INTO note (user, label, version, place) VALUES (?, ?, 1, PLACE) RETURNING id, place',
);
const UPDATE = placed(
  'UPDATE note SET version = ?, place = PLACE WHERE id = ? AND user = ? RETURNING id, place',
);
const DELETE = placed('DELETE FROM note WHERE id = ? AND user = ? RETURNING id, PLACE AS place');
const COUNT = placed('UPDATE product SET sold = sold + 1 WHERE id = ?');
const SELL = placed(
  'INSERT INTO sale (product, user, number, place) VALUES (?, ?, ?, PLACE) RETURNING id, place',
);
const NOTES = placed('SELECT id, label, version, place FROM note WHERE user = ? ORDER BY id');
const SALES = placed('SELECT count(*) AS sales, PLACE AS place FROM sale WHERE user = ?');

export default {
  async fetch(request: Request, env: Env, ctx: WorkerContext): Promise<Response> {
    const db = new DatabaseConnection({
      source: env.DB,
      target: env.TARGET,
      ctx,
      session: request.headers.get('session'),
      reportMs: 200,
      // Writes do not wait long here for a replay that asks D1 once a second: no news.
      logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
    });
    try {
      const value = await serve(request, db);
      if (value === undefined) return new Response('not found', { status: 404 });
      const session = db.session();
      return Response.json(value, { headers: session === undefined ? {} : { session } });
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      return new Response(`${code}: ${message}`, { status: 500 });
    } finally {
      ctx.waitUntil(db.close());
    }
  },
};

/** @returns undefined where there is no such row or page */
async function serve(
  request: Request,
  db: DatabaseConnection,
): Promise<Written | Page | ShopStatistics | undefined> {
  const [, user = '', kind, id] = new URL(request.url).pathname.split('/');
  const body = request.method === 'GET' || request.method === 'DELETE' ? {} : await request.json();
  const { label = '', version = 0, product = 0, number = 0 } = body as Record<string, Value>;
  const write = async (sql: Sql, params: Value[]): Promise<Written | undefined> =>
    (await db.write<Written>(sql, params, { key: user })).rows[0];
  switch (`${request.method} ${kind}`) {
    case 'POST notes':
      return write(INSERT, [user, label]);
    case 'PUT notes':
      return write(UPDATE, [version, Number(id), user]);
    case 'DELETE notes':
      return write(DELETE, [Number(id), user]);
    case 'POST sales': {
      const [counted, sold] = await db.batch(
        [
          { sql: COUNT, params: [product] },
          { sql: SELL, params: [product, user, number] },
        ],
        { key: user },
      );
      return counted?.changes === 1 ? (sold?.rows[0] as unknown as Written) : undefined;
    }
    case 'GET page': {
      const notes = await db.query<Note>(NOTES, [user], { key: user });
      const [sales] = await db.query<{ sales: number; place: Place }>(SALES, [user], { key: user });
      return { notes, ...sales! };
    }
    case 'GET statistics':
      return db.stats();
    default:
      return undefined;
  }
}
