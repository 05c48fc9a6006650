/** The settings of a migration, from an input file and from options that go over it. */
import { InvalidArgumentError, type Command } from 'commander';
import type { MigrationInput } from '../contract.ts';
import { parseMigrationInput } from '../input.ts';
import type { Io } from './io.ts';
import { readInput } from './options.ts';

export interface SettingsOptions {
  input?: string;
  policy?: Record<string, string>;
}

/** @param what the description of --input */
export function withSettings(command: Command, what: string): Command {
  return command
    .option('--input <file>', what)
    .option('--policy <name=choice>', 'a policy, like triggers=drop; may be repeated', policyArgument);
}

/** @throws CrossfadeError InvalidInput */
export async function settingsOf({ input, policy }: SettingsOptions, io: Io): Promise<MigrationInput> {
  const raw = await readInput(input, io);
  if (policy === undefined) return parseMigrationInput(raw);
  // What is no object is refused as it stands, before anything is laid over it.
  const given = (raw ?? {}) as { policies?: object };
  if (typeof given !== 'object' || Array.isArray(given)) return parseMigrationInput(raw);
  return parseMigrationInput({ ...given, policies: { ...given.policies, ...policy } });
}

/** For commander: `triggers=drop`. */
function policyArgument(text: string, earlier: Record<string, string> = {}): Record<string, string> {
  const [, name, choice] = /^(\w+)=([\w-]+)$/.exec(text) ?? [];
  if (name === undefined || choice === undefined) {
    throw new InvalidArgumentError('It must be a name and a choice, like triggers=drop.');
  }
  return { ...earlier, [name]: choice };
}
