/**
 * An application process whose operations are requests to Workers, which write through crossfade's router. Each request
 * goes to any of them, and takes its user's session along.
 * Arguments as those of router-process. CHAOS_ROUTERS: addresses of the Workers.
 */
import { Random } from '../../demo/database/random.ts';
import { runClient } from './client.ts';
import type { Connection } from './lane.ts';
import { ask, rowsOf, type Asked } from './worker-messages.ts';

const addresses = (process.env['CHAOS_ROUTERS'] ?? '').split(' ');
const random = new Random(process.pid);
/** By client. */
const sessions = new Map<string, string>();

async function asUser(user: string, asked: Asked): Promise<Record<string, unknown>[]> {
  const session = sessions.get(user);
  const answer = await ask(random.pick(addresses), {
    ...asked,
    ...(session === undefined ? {} : { session }),
  });
  if (answer.session === undefined) sessions.delete(user);
  else sessions.set(user, answer.session);
  return rowsOf(answer);
}

const connection: Connection = {
  async apply(statements, key, pauseMs) {
    await asUser(key, { statements, key, pauseMs });
    return undefined;
  },
  async read(client, k, key) {
    const read = { sql: 'SELECT v FROM entry WHERE client = ? AND k = ?', params: [client, k] };
    const [row] = await asUser(String(client), {
      statements: [],
      read,
      ...(key === undefined ? {} : { key }),
    });
    return row?.['v'] as string | undefined;
  },
};

await runClient(connection, async () => undefined);
