/**
 * An application process that writes through crossfade's router.
 * Arguments: --journal FILE --lanes FIRST:COUNT --seed N --pace MS --slow SHARE:MS. SOURCE_URL and TARGET_URL name the databases.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseConnection, type Transaction } from '../../src/index.ts';
import type { Connection } from './lane.ts';
import { runClient } from './client.ts';

const router = new DatabaseConnection({
  source: process.env['SOURCE_URL'] ?? '',
  target: process.env['TARGET_URL'] ?? '',
  pollMs: 200,
  reportMs: 500,
});

const connection: Connection = {
  async apply(statements, key, pauseMs) {
    const [first, ...others] = statements;
    if (first !== undefined && others.length === 0) {
      await router.write(first.sql, first.params, { key });
    } else if (pauseMs === 0) {
      await router.batch(statements, { key });
    } else {
      const slowly = async (tx: Transaction): Promise<void> => {
        for (const { sql, params } of statements) {
          await tx.write(sql, params);
          await sleep(pauseMs);
        }
      };
      await router.transaction(slowly, { key });
    }
    return undefined;
  },
  async read(client, k, key) {
    const rows = await router.query<{ v: string }>(
      'SELECT v FROM entry WHERE client = ? AND k = ?',
      [client, k],
      key === undefined ? {} : { key },
    );
    return rows[0]?.v;
  },
};

await runClient(connection, () => router.close());
