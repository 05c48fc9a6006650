/** Options that several commands share, and what they are turned into. */
import { readFile } from 'node:fs/promises';
import { InvalidArgumentError, type Command } from 'commander';
import { postgresUrl, sourceConnection, sqlitePath, type SourceConnection } from '../connections.ts';
import { parseDuration } from '../duration.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import type { Io } from './io.ts';

export interface DatabaseOptions {
  source?: string;
  target?: string;
}

export function withSource(command: Command): Command {
  return command.option(
    '--source <url>',
    'the SQLite file, sqlite:PATH, d1://ACCOUNT_ID/DATABASE_ID, or d1-local:PATH (default: SOURCE_URL)',
  );
}

export function withTarget(command: Command): Command {
  return command.option('--target <url>', 'the PostgreSQL database, postgres://… (default: TARGET_URL)');
}

export function withDatabases(command: Command): Command {
  return withTarget(withSource(command));
}

export interface Databases {
  source: SourceConnection;
  targetUrl: string;
  /** The environment with both, for a worker: its connections are called `source` and `target`. */
  env: NodeJS.ProcessEnv;
}

/** @throws CrossfadeError BadConnection, UnknownConnection */
export function databasesOf(options: DatabaseOptions, env: NodeJS.ProcessEnv): Databases {
  const { text, from } = sourceText(options, env);
  const source = sourceConnection(text, from, env);
  const targetUrl = targetOf(options, env);
  return {
    source,
    targetUrl,
    env: {
      ...env,
      SOURCE_URL: source.kind === 'sqlite' ? `sqlite:${source.path}` : text,
      TARGET_URL: targetUrl,
    },
  };
}

/** Path of the file. @throws CrossfadeError BadConnection, UnknownConnection */
export function sourceOf(options: DatabaseOptions, env: NodeJS.ProcessEnv): string {
  const { text, from } = sourceText(options, env);
  return sqlitePath(text, from);
}

/** @throws CrossfadeError BadConnection, UnknownConnection */
export function targetOf(options: DatabaseOptions, env: NodeJS.ProcessEnv): string {
  const target = options.target ?? env['TARGET_URL'];
  if (target === undefined || target === '') throw missing('--target postgres://…', 'TARGET_URL');
  return postgresUrl(target, options.target === undefined ? 'TARGET_URL' : '--target');
}

function sourceText(options: DatabaseOptions, env: NodeJS.ProcessEnv): { text: string; from: string } {
  const text = options.source ?? env['SOURCE_URL'];
  if (text === undefined || text === '') throw missing('--source sqlite:PATH', 'SOURCE_URL');
  return { text, from: options.source === undefined ? 'SOURCE_URL' : '--source' };
}

function missing(option: string, variable: string): CrossfadeError {
  return new CrossfadeError('UnknownConnection', `which database? Give ${option}, or set ${variable}`);
}

/**
 * The JSON of an input file, `-` for standard input; undefined without one. The content is not looked at.
 * @throws CrossfadeError InvalidInput where it cannot be read or is not JSON
 */
export async function readInput(file: string | undefined, io: Io): Promise<unknown> {
  if (file === undefined) return undefined;
  let text: string;
  try {
    text = file === '-' ? await io.readStdin() : await readFile(file, 'utf8');
  } catch (error) {
    throw new CrossfadeError(
      'InvalidInput',
      `the input file ${file} cannot be read: ${messageOf(error)}`,
      error,
    );
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new CrossfadeError(
      'InvalidInput',
      `the input file ${file} is not JSON: ${messageOf(error)}`,
      error,
    );
  }
}

/** For commander: `5m` → 300000. */
export function durationArgument(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('It must be a duration like 500ms, 10s, 5m or 1h.');
  return ms;
}

/** For commander: a whole number from 1. */
export function countArgument(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < 1) {
    throw new InvalidArgumentError('It must be a whole number from 1.');
  }
  return value;
}
