/**
 * `wrangler dev` without wrangler: workerd with one Worker over local D1 databases. Arguments: the folder of the databases,
 * then their ids; the first one is served. Prints its URL, and ends with its standard input. A POST with
 * `[{ "sql": …, "params": [ … ] }]` runs one batch; the answer is the rows of each statement, or a message with status 500.
 * A POST to `/export` gives the text that `wrangler d1 export --local` writes.
 */
import { Miniflare } from 'miniflare';

const SCRIPT = `export default {
  async fetch(request, { DB }) {
    const batch = await request.json();
    try {
      if (new URL(request.url).pathname === '/export') {
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
// A database has no file before its first use.
for (const binding of Object.keys(databases)) {
  const database = await server.getD1Database(binding);
  await database.prepare('SELECT 1').run();
}
console.log(String(url));
process.stdin.resume();
process.stdin.on('end', () => void server.dispose());
