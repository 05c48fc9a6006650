/** `crossfade plan`: what would be done. */
import type { Command } from 'commander';
import { sameName } from '../../databases/identifiers.ts';
import type { Plan } from '../../contract.ts';
import type { Io } from '../io.ts';
import { databasesOf, withDatabases, type DatabaseOptions } from '../options.ts';
import type { Action } from '../program.ts';
import { CrossfadeError } from '../../errors.ts';
import { widthOf } from '../view/format.ts';
import { renderPlan } from '../view/plan.ts';
import { settingsOf, withSettings, type SettingsOptions } from '../settings.ts';

interface Options extends DatabaseOptions, SettingsOptions {
  json?: boolean;
  all?: boolean;
  table?: string;
}

const REFUSED = 3;

export function addPlan(program: Command, action: Action): void {
  withSettings(
    withDatabases(program.command('plan')),
    'settings as JSON, - for standard input: policies and overrides count',
  )
    .description('Show what a migration would do, and what stands against it. Changes nothing.')
    .option('--json', 'the whole plan as JSON')
    .option('--all', 'every table and notice in full, however many there are')
    .option('--table <name>', 'this table alone')
    .addHelpText(
      'after',
      `
Exit status 3: something stands against the migration; each line says what can be done about it.

Example:
  crossfade plan --source sqlite:shop.db --target postgres://shop@db.example.com/shop
  crossfade plan --source d1://ACCOUNT_ID/DATABASE_ID --target postgres://shop@db.example.com/shop`,
    )
    .action(
      action(async (io, options: Options) => {
        const plan = await planOf(options, io);
        const view = {
          width: widthOf(io.stdout),
          ...(options.all === true ? { all: true } : {}),
          ...(options.table === undefined ? {} : { table: tableOf(plan, options.table) }),
        };
        io.stdout.write(
          options.json === true ? `${JSON.stringify(plan, null, 2)}\n` : renderPlan(plan, view),
        );
        return plan.blockers.length > 0 ? REFUSED : 0;
      }),
    );
}

async function planOf(options: Options, io: Io): Promise<Plan> {
  const { source, targetUrl } = databasesOf(options, io.env);
  const { policies, overrides } = await settingsOf(options, io);
  if (source.kind === 'd1') {
    const { planD1 } = await import('../../engine/plan-d1.ts');
    return planD1(source.d1, targetUrl, { policies, overrides });
  }
  const { planSource } = await import('../../engine/plan-source.ts');
  // No migration has an empty name: whatever is under way in either database is another one.
  return planSource({ sourcePath: source.path, targetUrl }, '', { policies, overrides });
}

/** @throws CrossfadeError InvalidInput where the plan has no such table */
function tableOf({ tables }: Plan, name: string): string {
  if (tables.some((table) => sameName(table.name, name))) return name;
  throw new CrossfadeError(
    'InvalidInput',
    `--table ${name}: the source has no table of this name that is copied`,
  );
}
