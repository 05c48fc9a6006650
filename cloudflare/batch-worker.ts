/**
 * Batches in a D1 database past everything of ours, by a Worker of its own. miniflare's proxies of bindings would do, but
 * they wait for each answer with the event loop stopped, and may look for it before it has come, which ends the process
 * with "false == true".
 */
import { fetchOnce } from './fetch-once.ts';

/** ES module of the Worker; `DB` is its binding of the database. */
export const BATCH_SCRIPT = `export default {
  async fetch(request, { DB }) {
    const statements = await request.json();
    try {
      return Response.json(await DB.batch(statements.map(({ sql, params }) => DB.prepare(sql).bind(...params))));
    } catch (error) {
      return new Response(error.message, { status: 500 });
    }
  },
};`;

/** Gives a Worker an address of its own, which `Miniflare.unsafeGetDirectURL` tells. */
export const OWN_ADDRESS = { unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }] };

export interface BatchStatement {
  sql: string;
  params: unknown[];
}

export interface BatchResult {
  results: Record<string, unknown>[];
}

/**
 * Runs one batch, which is one transaction.
 * @param url of the Worker
 * @returns D1's result of each statement @throws Error with D1's message
 */
export async function runBatch(url: URL | string, statements: BatchStatement[]): Promise<BatchResult[]> {
  const response = await fetchOnce(url, { method: 'POST', body: JSON.stringify(statements) });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return JSON.parse(text) as BatchResult[];
}
