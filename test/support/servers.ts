/** The servers of one test run: those that are there are used, the others are embedded and end with the run. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startPostgres } from '../../src/embedded/postgres.ts';
import { startTemporal } from '../../src/embedded/temporal.ts';

const LOCAL_POSTGRES = 'postgres://postgres@127.0.0.1:5432/postgres';

type Stop = () => Promise<void>;

/** From the set-up to the teardown: both run in jest's own process, but with modules of their own. */
const kept = globalThis as { crossfadeTestServers?: Stop[] };

/** Sets TEST_POSTGRES_URL and TEST_TEMPORAL_ADDRESS where they are not set. */
export async function startServers(): Promise<void> {
  const stops: Stop[] = [];
  kept.crossfadeTestServers = stops;
  const env = { ...process.env };
  // What a developer's shell names is not for tests.
  delete env['TARGET_URL'];
  delete env['TEMPORAL_ADDRESS'];
  const onLine = (line: string): void => void process.stderr.write(`${line}\n`);
  if (process.env['TEST_POSTGRES_URL'] === undefined && !(await answers(LOCAL_POSTGRES))) {
    const dataDir = await mkdtemp(join(tmpdir(), 'crossfade-test-postgres-'));
    const server = await startPostgres({ env, dataDir, temporary: true, onLine });
    stops.push(async () => {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    });
    process.env['TEST_POSTGRES_URL'] = server.url;
  }
  if (process.env['TEST_TEMPORAL_ADDRESS'] === undefined) {
    const server = await startTemporal({ env, onLine });
    stops.push(() => server.stop());
    process.env['TEST_TEMPORAL_ADDRESS'] = server.address;
  }
}

export async function stopServers(): Promise<void> {
  await Promise.all((kept.crossfadeTestServers ?? []).map((stop) => stop()));
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}
