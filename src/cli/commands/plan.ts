/** `crossfade plan`: what would be done. */
import type { Command } from 'commander';
import { parseMigrationInput } from '../../input.ts';
import { databasesOf, readInput, withDatabases, type DatabaseOptions } from '../options.ts';
import type { Action } from '../program.ts';

interface Options extends DatabaseOptions {
  input?: string;
  json?: boolean;
}

const REFUSED = 3;

export function addPlan(program: Command, action: Action): void {
  withDatabases(program.command('plan'))
    .description('Show what a migration would do, and what stands against it. Changes nothing.')
    .option('--input <file>', 'settings as JSON, - for standard input: policies and overrides count')
    .option('--json', 'the whole plan as JSON')
    .addHelpText(
      'after',
      `
Exit status 3: something stands against the migration; each line says what can be done about it.

Example:
  crossfade plan --source sqlite:shop.db --target postgres://shop@db.example.com/shop`,
    )
    .action(
      action(async (io, options: Options) => {
        const { sourcePath, targetUrl } = databasesOf(options, io.env);
        const { policies, overrides } = parseMigrationInput(await readInput(options.input, io));
        const { openSource } = await import('../../databases/sqlite/connection.ts');
        const { checkFree } = await import('../../engine/begin.ts');
        const { planMigration } = await import('../../engine/plan.ts');
        const { renderPlan } = await import('../../engine/plan-text.ts');
        // No migration has an empty name: whatever is under way in either database is another one.
        await checkFree({ sourcePath, targetUrl }, '');
        const db = openSource(sourcePath, 'read');
        try {
          const plan = await planMigration(db, { policies, overrides });
          io.stdout.write(options.json === true ? `${JSON.stringify(plan, null, 2)}\n` : renderPlan(plan));
          return plan.blockers.length > 0 ? REFUSED : 0;
        } finally {
          db.close();
        }
      }),
    );
}
