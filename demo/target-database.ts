/** A database of the demo's own on the server of TARGET_URL, so that nobody's tables are touched. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';

export interface DemoDatabase {
  url: string;
  drop(): Promise<void>;
}

/** Creates an empty database beside the one that the URL names, with the same login. @throws the driver's errors */
export async function createDemoDatabase(serverUrl: string): Promise<DemoDatabase> {
  const name = `crossfade_demo_${randomBytes(4).toString('hex')}`;
  const run = async (sql: string): Promise<void> => {
    const client = new pg.Client({ connectionString: serverUrl });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  await run(`CREATE DATABASE "${name}"`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { url: url.toString(), drop: () => run(`DROP DATABASE "${name}" WITH (FORCE)`) };
}
