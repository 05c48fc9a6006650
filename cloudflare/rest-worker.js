/**
 * Cloudflare's REST API of D1, as far as crossfade asks it, in front of a real D1 database in workerd. Imitated from
 * developers.cloudflare.com: the routes, bodies and envelopes of /api/resources/d1/subresources/database/methods/{get,list,raw},
 * the limits of SQL length and bound parameters of /d1/platform/limits/, and the statuses and codes that users report in
 * cloudflare/workers-sdk (10000 for a bad token, 7403 for another account, 7404 for an unknown database, 7500 for a statement that
 * fails). How a token that may only read is refused a change is not documented: here as any other token that may not. Not
 * imitated: rate limits, regions, billing.
 */
const LONGEST_SQL = 100_000;
const MOST_PARAMETERS = 100;
const READS = /^\s*(SELECT|WITH|PRAGMA)\b/i;

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const token = request.headers.get('authorization');
    if (token !== `Bearer ${env.TOKEN}` && token !== `Bearer ${env.READ_TOKEN}`)
      return failure(401, 10000, 'Authentication error');
    const [, account, id = '', method = ''] =
      /^\/client\/v4\/accounts\/([^/]+)\/d1\/database\/?([^/]*)\/?(.*)$/.exec(pathname) ?? [];
    if (account === undefined)
      return failure(404, 7003, `Could not route to ${pathname}, perhaps your object identifier is invalid?`);
    if (account !== env.ACCOUNT)
      return failure(403, 7403, 'The given account is not valid or is not authorized to access this service');
    const database = { uuid: env.DATABASE, name: env.NAME };
    if (id === '') {
      const name = searchParams.get('name');
      return success(name === null || env.NAME.includes(name) ? [database] : []);
    }
    if (id !== env.DATABASE) return failure(404, 7404, `The database ${id} could not be found`);
    if (method === '') return success(database);
    if (method === 'time_travel/bookmark')
      return success({ bookmark: '00000001-00000002-00004b1f-0123456789abcdef' });
    if (method !== 'raw' || request.method !== 'POST') return failure(405, 7001, 'Method not allowed');
    const body = await request.json();
    const statements = body.batch ?? [body];
    if (token !== `Bearer ${env.TOKEN}` && !statements.every(({ sql }) => READS.test(sql)))
      return failure(403, 10000, 'Authentication error');
    try {
      return success(await run(env.DB, statements));
    } catch (error) {
      return failure(400, 7500, error.message.replace(/^D1_ERROR: /, ''));
    }
  },
};

async function run(db, statements) {
  for (const { sql, params = [] } of statements) {
    if (new TextEncoder().encode(sql).length > LONGEST_SQL)
      throw new Error('statement too long: SQLITE_TOOBIG');
    if (params.length > MOST_PARAMETERS) throw new Error('too many SQL variables: SQLITE_ERROR');
  }
  const prepared = statements.map(({ sql, params = [] }) => db.prepare(sql).bind(...params));
  const answers = await db.batch(prepared);
  return answers.map(({ results, meta }) => {
    const columns = Object.keys(results[0] ?? {});
    return {
      success: true,
      meta,
      results: { columns, rows: results.map((row) => columns.map((name) => row[name])) },
    };
  });
}

function success(result) {
  return Response.json({ success: true, errors: [], messages: [], result });
}

function failure(status, code, message) {
  return Response.json(
    { success: false, errors: [{ code, message }], messages: [], result: null },
    { status },
  );
}
