/**
 * `wrangler dev` without wrangler: workerd with one Worker over local D1 databases. Arguments: the folder of the databases,
 * then their ids; the first one is served. Prints its URL, and ends with its standard input. A POST with
 * `[{ "sql": …, "params": [ … ] }]` runs one batch; the answer is the rows of each statement, or a message with status 500.
 * A POST to `/export` gives the text that `wrangler d1 export --local` writes.
 */
import { Miniflare } from 'miniflare';

const SCRIPT = `export default {
  async fetch(request, env) {
    const { DB } = env;
    const batch = await request.json();
    try {
      const { pathname } = new URL(request.url);
      if (pathname === '/touch') {
        for (const database of Object.values(env)) await database.prepare('SELECT 1').run();
        return new Response('');
      }
      if (pathname === '/export') {
        // As wrangler's "d1 export --local" asks for it: whether to leave out the schema, the rows, and the tables, all for none.
        const [dump] = await DB.prepare('PRAGMA miniflare_d1_export(?,?,?);').bind(0, 0).raw();
        return new Response(dump.join('\\n'));
      }
      const results = await DB.batch(batch.map(({ sql, params = [] }) => DB.prepare(sql).bind(...params)));
      return Response.json(results.map((result) => result.results));
    } catch (error) {
      return new Response(error.message, { status: 500 });
    }
  },
};`;

const [folder, ...ids] = process.argv.slice(2);
const databases = Object.fromEntries(ids.map((id, i) => [i === 0 ? 'DB' : `DB${i}`, id]));
const server = new Miniflare({
  modules: true,
  script: SCRIPT,
  compatibilityDate: '2026-01-01',
  d1Databases: databases,
  d1Persist: folder,
});
const url = await server.ready;
// A database has no file before its first use. Asked through the Worker: miniflare's proxies of bindings wait with the event
// loop stopped, and may look for the answer before it has come.
await fetch(new URL('touch', url), { method: 'POST', body: '[]' });
console.log(String(url));
process.stdin.resume();
process.stdin.on('end', () => void server.dispose());
