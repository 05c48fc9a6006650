/** `d1://ACCOUNT_ID/DATABASE_ID`: which D1 database, and what opens it. */
import { CrossfadeError } from '../../errors.ts';

export interface D1Address {
  /** Cloudflare's id of the account: 32 hexadecimal digits. */
  account: string;
  /** The database's id, a UUID, or its name within the account. */
  database: string;
}

/** What the worker's environment says about Cloudflare's API. */
export interface D1Access {
  token: string;
  /** Without a slash at the end. */
  baseUrl: string;
  /** How many pages of tables are read at once. */
  concurrency: number;
}

export interface D1Source {
  address: D1Address;
  access: D1Access;
}

/** https://developers.cloudflare.com/fundamentals/api/how-to/make-api-calls/ */
const BASE_URL = 'https://api.cloudflare.com/client/v4';

export const D1_SCHEME = 'd1://';

/**
 * @param from what to call the text in a message
 * @throws CrossfadeError BadConnection
 */
export function d1Address(text: string, from: string): D1Address {
  const [account = '', database = '', ...rest] = text.slice(D1_SCHEME.length).split('/');
  if (!/^[0-9a-f]{32}$/i.test(account) || database === '' || rest.length > 0) {
    throw new CrossfadeError(
      'BadConnection',
      `${from} is not d1://ACCOUNT_ID/DATABASE_ID: the account's id has 32 hexadecimal digits, the database's id is the ` +
        'one that "wrangler d1 list" shows (its name will do)',
    );
  }
  return { account: account.toLowerCase(), database: decodeURIComponent(database) };
}

/** D1 runs one statement after the other, so that more only queue there. */
const CONCURRENCY = 4;
const MOST_CONCURRENCY = 16;

/** @throws CrossfadeError BadConnection where the environment has no token, or what it says of requests is no number */
export function d1Access(env: Record<string, string | undefined>): D1Access {
  const token = env['CLOUDFLARE_API_TOKEN'];
  if (token === undefined || token === '') {
    throw new CrossfadeError(
      'BadConnection',
      'the source is a D1 database, and CLOUDFLARE_API_TOKEN is not set: make a token with the permission "D1 Read" for the account',
    );
  }
  const concurrency = Number(env['CROSSFADE_D1_CONCURRENCY'] ?? CONCURRENCY);
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > MOST_CONCURRENCY) {
    throw new CrossfadeError(
      'BadConnection',
      `CROSSFADE_D1_CONCURRENCY is ${env['CROSSFADE_D1_CONCURRENCY']}: it says how many requests to D1 may be under way at once, 1 to ${MOST_CONCURRENCY}`,
    );
  }
  return { token, baseUrl: (env['CLOUDFLARE_API_BASE_URL'] ?? BASE_URL).replace(/\/+$/, ''), concurrency };
}

export function d1Url({ account, database }: D1Address): string {
  return `${D1_SCHEME}${account}/${encodeURIComponent(database)}`;
}
