/** From the name of a connection to the database: names travel through Temporal, URLs stay in the worker's environment. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { D1_SCHEME, d1Access, d1Address, type D1Source } from './databases/d1/address.ts';
import { localD1Path } from './databases/sqlite/local-d1.ts';
import { CrossfadeError, messageOf } from './errors.ts';

export type SourceConnection =
  | {
      kind: 'sqlite';
      /** Absolute path of the file. */
      path: string;
    }
  | {
      kind: 'd1';
      /** With its token: never to be shown, never logged. */
      d1: D1Source;
    };

export interface TargetConnection {
  kind: 'postgres';
  /** With its password: never to be shown, never logged. */
  url: string;
}

const LOCAL_D1 = 'd1-local';

type Environment = Record<string, string | undefined>;

/** The environment variable of a connection: `source` → SOURCE_URL, `my-orders` → MY_ORDERS_URL. */
function variableOf(name: string): string {
  return `${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_URL`;
}

/**
 * The database of a source connection: `<NAME>_URL` in `env`, or else `connections.<name>` in the JSON file
 * `configFile` (by default the one that CROSSFADE_CONFIG names). Whether the file exists is not looked at.
 * @throws CrossfadeError UnknownConnection; as `sourceConnection`
 */
export function resolveSource(
  name: string,
  env: Environment,
  configFile: string | undefined = env['CROSSFADE_CONFIG'],
): SourceConnection {
  const { text, from } = lookUp(name, env, configFile);
  return sourceConnection(text, from, env);
}

/**
 * @param from what to call the text in a message
 * @throws CrossfadeError BadConnection, also where `env` has no token for D1; as `sqlitePath`
 */
export function sourceConnection(text: string, from: string, env: Environment): SourceConnection {
  if (text.startsWith(D1_SCHEME))
    return { kind: 'd1', d1: { address: d1Address(text, from), access: d1Access(env) } };
  return { kind: 'sqlite', path: sqlitePath(text, from) };
}

/**
 * The PostgreSQL URL of a target connection, found like a source.
 * @throws CrossfadeError UnknownConnection, BadConnection
 */
export function resolveTarget(
  name: string,
  env: Environment,
  configFile: string | undefined = env['CROSSFADE_CONFIG'],
): TargetConnection {
  const { text, from } = lookUp(name, env, configFile);
  return { kind: 'postgres', url: postgresUrl(text, from) };
}

/**
 * Path of `sqlite:PATH`, `sqlite:///absolute`, or a bare path, made absolute; of `d1-local:PATH` what `localD1Path` finds.
 * @param from what to call it in a message
 * @throws CrossfadeError BadConnection; SourceMissing where a folder has no local D1 database
 */
export function sqlitePath(text: string, from: string): string {
  const scheme = schemeOf(text);
  if (scheme === LOCAL_D1) return localD1Path(text.slice(LOCAL_D1.length + 1), from);
  if (scheme === 'd1') {
    throw new CrossfadeError(
      'BadConnection',
      `${from} names a D1 database, and this needs a file: for a local one use d1-local:PATH; inside a Worker use crossfade/workers`,
    );
  }
  if (scheme !== undefined && scheme !== 'sqlite') {
    // The rest may hold a password.
    throw new CrossfadeError(
      'BadConnection',
      `${from} begins with "${scheme}:", but the source is a SQLite file: use sqlite:PATH, or d1-local:PATH for one of wrangler's`,
    );
  }
  const path = scheme === undefined ? text : text.slice('sqlite:'.length).replace(/^\/\/+(?=\/)|^\/\//, '');
  if (path === '' || path === ':memory:') {
    throw new CrossfadeError('BadConnection', `${from} names no file: use sqlite:PATH`);
  }
  return resolve(path);
}

/** @param from what to call it in a message */
export function postgresUrl(text: string, from: string): string {
  const scheme = schemeOf(text);
  if (scheme !== 'postgres' && scheme !== 'postgresql') {
    throw new CrossfadeError(
      'BadConnection',
      `${from} ${scheme === undefined ? 'is not a URL' : `begins with "${scheme}:"`}, but the target is PostgreSQL: ` +
        'use postgres://user@host:5432/database',
    );
  }
  if (!URL.canParse(text)) {
    throw new CrossfadeError(
      'BadConnection',
      `${from} is not a valid URL: use postgres://user:password@host:5432/database, and percent-encode special ` +
        'characters in the password',
    );
  }
  return text;
}

/** `sqlite:` of `sqlite:a.db`; one letter is a drive. */
function schemeOf(text: string): string | undefined {
  return /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase();
}

function lookUp(
  name: string,
  env: Environment,
  configFile: string | undefined,
): { text: string; from: string } {
  const variable = variableOf(name);
  const value = env[variable];
  if (value !== undefined && value !== '') return { text: value, from: variable };
  if (configFile !== undefined && configFile !== '') {
    const text = readConfig(configFile).get(name);
    if (text !== undefined) return { text, from: `connection "${name}" in ${configFile}` };
  }
  throw new CrossfadeError(
    'UnknownConnection',
    `connection "${name}" is not known here: set ${variable} in the worker's environment, or add "${name}" to ` +
      `"connections" in ${configFile ? configFile : 'the JSON file that CROSSFADE_CONFIG names'}`,
  );
}

function readConfig(path: string): Map<string, string> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    // A parser's message may quote the file, which holds passwords.
    const why = error instanceof SyntaxError ? 'it is not JSON' : messageOf(error);
    throw new CrossfadeError('BadConnection', `the configuration file ${path} cannot be read: ${why}`);
  }
  const connections = (content as { connections?: unknown } | null)?.connections;
  if (typeof connections !== 'object' || connections === null || Array.isArray(connections)) {
    throw new CrossfadeError(
      'BadConnection',
      `the configuration file ${path} has no "connections": use { "connections": { "orders": "sqlite:/path" } }`,
    );
  }
  const entries = Object.entries(connections);
  const bad = entries.find(([, value]) => typeof value !== 'string');
  if (bad !== undefined) {
    throw new CrossfadeError(
      'BadConnection',
      `connection "${bad[0]}" in ${path} is not a string: use "sqlite:PATH"`,
    );
  }
  return new Map(entries as [string, string][]);
}
