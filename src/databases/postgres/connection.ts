/** Opens connections to the target as the engine needs them. */
import pg from 'pg';
import { CrossfadeError, driverCode, messageOf } from '../../errors.ts';
import { reachable } from './reach.ts';

/** The engine reads every value as text: conversions are its own and exact. */
export const asText: pg.CustomTypesConfig = { getTypeParser: () => (value: unknown) => value };

export interface TargetOptions {
  /** Shown in pg_stat_activity; a later owner of a lease ends the connections of the one before by this name. */
  applicationName: string;
  /** Parse nothing: every value arrives as text or null. */
  text?: boolean;
  connectTimeoutMs?: number;
  /** How long any statement may wait for its answer, for statements of which each is answered at once; default: for ever. */
  answerMs?: number;
}

/** Where a URL points to, without its password: fit for messages. */
export function describeTarget(url: string): string {
  try {
    const parsed = new URL(url);
    return `${parsed.hostname}:${parsed.port || '5432'}${parsed.pathname}`;
  } catch {
    return 'the target';
  }
}

/**
 * Connection parameters of a URL, with TLS certificates verified. `sslmode` in the URL decides; without it a loopback
 * address is plain and any other is encrypted.
 * @throws CrossfadeError BadConnection where the URL is not a PostgreSQL URL
 */
export function connectionConfig(url: string): pg.ClientConfig {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (error) {
    throw new CrossfadeError(
      'BadConnection',
      'the target is not a URL: use postgres://user@host:5432/database',
      error,
    );
  }
  if (parsed.protocol !== 'postgres:' && parsed.protocol !== 'postgresql:') {
    throw new CrossfadeError(
      'BadConnection',
      `the target's URL begins with "${parsed.protocol}": only postgres:// is supported`,
    );
  }
  const mode = parsed.searchParams.get('sslmode');
  const local = ['localhost', '127.0.0.1', '[::1]', ''].includes(parsed.hostname);
  parsed.searchParams.delete('sslmode');
  if (mode !== null && !['disable', 'require', 'verify-ca', 'verify-full'].includes(mode)) {
    throw new CrossfadeError(
      'BadConnection',
      `sslmode=${mode} would accept any certificate or none: use verify-full, or disable on a trusted network`,
    );
  }
  const rootCert = parsed.searchParams.get('sslrootcert');
  if (rootCert !== null) return { connectionString: url };
  const ssl = mode === null ? !local : mode !== 'disable';
  return { connectionString: parsed.toString(), ssl: ssl ? { rejectUnauthorized: true } : false };
}

/** Connects; the caller ends the client. @throws CrossfadeError TargetUnreachable, TargetRefused, BadConnection */
export async function connectTarget(url: string, options: TargetOptions): Promise<pg.Client> {
  const connectTimeoutMs = options.connectTimeoutMs ?? 5_000;
  const client = new pg.Client({
    ...connectionConfig(url),
    application_name: options.applicationName,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    // A host that is gone is noticed within a minute; by default it would be two hours.
    keepAliveInitialDelayMillis: 20_000,
    ...(options.answerMs === undefined ? {} : { query_timeout: options.answerMs }),
    ...(options.text === true ? { types: asText } : {}),
  });
  // A connection that breaks while idle must not end the process; the next query reports it.
  client.on('error', () => undefined);
  reachable(client);
  try {
    await client.connect();
    // Durability and canonical text do not depend on the server's or the role's settings. The two timeouts are
    // shorter than a cutover's pause, so that a dead owner's transaction cannot hold a lock through it.
    await client.query({
      query_timeout: connectTimeoutMs,
      text: `SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '8s'; SET lock_timeout = '5s';
       SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 3;
       SET standard_conforming_strings = on; SET client_encoding = 'UTF8'`,
    } as pg.QueryConfig);
  } catch (error) {
    await client.end().catch(() => undefined);
    throw targetError(url, error);
  }
  return client;
}

/** Maps a failure to connect to one of ours, keeping it as cause. */
export function targetError(url: string, error: unknown): CrossfadeError {
  if (error instanceof CrossfadeError) return error;
  const where = describeTarget(url);
  const code = driverCode(error);
  // Classes 28 (authorization) and 3D (no such database), https://www.postgresql.org/docs/current/errcodes-appendix.html
  if (code.startsWith('28')) {
    return new CrossfadeError(
      'TargetRefused',
      `target ${where} refused the login: ${messageOf(error)}`,
      error,
    );
  }
  if (code === '3D000') {
    return new CrossfadeError(
      'TargetRefused',
      `target ${where}: ${messageOf(error)}; create it first`,
      error,
    );
  }
  return new CrossfadeError(
    'TargetUnreachable',
    `target ${where} cannot be reached: ${messageOf(error)}`,
    error,
  );
}
