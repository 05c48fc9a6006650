/** `crossfade export`: files that psql loads, where nobody can connect both databases. */
import type { Command } from 'commander';
import { counted } from '../../counts.ts';
import { INTERRUPTED } from '../interrupted.ts';
import { sourceOf, withSource } from '../options.ts';
import type { Action } from '../program.ts';
import { settingsOf, withSettings, type SettingsOptions } from '../settings.ts';
import { duration, widthOf } from '../view/format.ts';
import { renderPlan } from '../view/plan.ts';

interface Options extends SettingsOptions {
  source?: string;
  out: string;
}

const REFUSED = 3;

export function addExport(program: Command, action: Action): void {
  withSettings(
    withSource(program.command('export')),
    'settings as JSON, - for standard input: policies and overrides count',
  )
    .description(
      'Write the database as files that psql loads into an empty PostgreSQL database. Changes nothing.',
    )
    .requiredOption('--out <folder>', 'where to; must not be there yet, or be empty')
    .addHelpText(
      'after',
      `
Everything is of one moment, which the application's writes do not disturb.
Exit status: 0 written, 1 failed, 2 bad usage or input, 3 refused by the plan.

Example:
  crossfade export --source sqlite:shop.db --out shop && psql -X -f shop/load.sql postgres://shop@db.example.com/shop`,
    )
    .action(
      action(async (io, options: Options) => {
        const sourcePath = sourceOf(options, io.env);
        const { policies, overrides } = await settingsOf(options, io);
        const { exportDatabase } = await import('../../offline/export.ts');
        const say = (line: string): unknown => io.stdout.write(`${line}\n`);
        const interrupt = new AbortController();
        const forget = io.onInterrupt(() => interrupt.abort());
        const started = performance.now();
        try {
          const { plan, tables } = await exportDatabase({
            sourcePath,
            out: options.out,
            choices: { policies, overrides },
            signal: interrupt.signal,
            onPlanned: ({ blockers, notices }) => {
              if (blockers.length === 0) for (const { message } of notices) say(`notice: ${message}`);
            },
            onTable: ({ table, rows }) => say(`  ${table.name}: ${counted(rows, 'row')}`),
          });
          if (plan.blockers.length > 0) {
            io.stdout.write(renderPlan(plan, { width: widthOf(io.stdout) }));
            return REFUSED;
          }
          const views = (plan.views ?? []).length;
          if (views > 0)
            say(
              `notice: ${counted(views, 'view')} in views.sql, which load.sql leaves out: compare what they return, then load them`,
            );
          const rows = tables.reduce((sum, table) => sum + table.rows, 0);
          say(
            `done: ${counted(tables.length, 'table')}, ${counted(rows, 'row')} (${duration(performance.now() - started)}); ` +
              `load them with: psql -X -f ${options.out}/load.sql postgres://…`,
          );
          return 0;
        } catch (error) {
          if (!interrupt.signal.aborted) throw error;
          io.stderr.write('crossfade: interrupted; nothing was written\n');
          return INTERRUPTED;
        } finally {
          forget();
        }
      }),
    );
}
