/** `crossfade import`: a dump goes to PostgreSQL, where nobody can connect both databases. */
import { tmpdir } from 'node:os';
import type { Command } from 'commander';
import type { Plan } from '../../contract.ts';
import { counted } from '../../counts.ts';
import { describeTarget } from '../../databases/postgres/connection.ts';
import { CrossfadeError } from '../../errors.ts';
import type { ImportEvents } from '../../offline/import.ts';
import { INTERRUPTED } from '../interrupted.ts';
import type { Io } from '../io.ts';
import { targetOf, withTarget } from '../options.ts';
import type { Action } from '../program.ts';
import { settingsOf, withSettings, type SettingsOptions } from '../settings.ts';
import { bytes, duration, widthOf } from '../view/format.ts';
import { renderPlan } from '../view/plan.ts';

interface Options extends SettingsOptions {
  from: string;
  target?: string;
  temp: string;
}

const REFUSED = 3;

export function addImport(program: Command, action: Action): void {
  withSettings(
    withTarget(program.command('import')),
    'settings as JSON, - for standard input: policies and overrides count',
  )
    .description(
      'Load a dump of a D1 or SQLite database into an empty PostgreSQL database, and compare every row.',
    )
    .requiredOption(
      '--from <path>',
      'SQL text as "wrangler d1 export" or the .dump of sqlite3 writes it, or a folder with schema.sql and one TABLE.json per table',
    )
    .option(
      '--temp <folder>',
      'where the SQLite database that the dump becomes is made: it takes about its size',
      tmpdir(),
    )
    .addHelpText(
      'after',
      `
The dump is converted by the same plan as a migration, and what fails leaves the target empty.
Exit status: 0 imported, 1 failed, 2 bad usage, or no whole dump, 3 refused by the plan.

Example:
  wrangler d1 export shop --remote --output shop.sql
  crossfade import --from shop.sql --target postgres://shop@db.example.com/shop`,
    )
    .action(
      action(async (io, options: Options) => {
        const targetUrl = targetOf(options, io.env);
        const { policies, overrides } = await settingsOf(options, io);
        const { importDump } = await import('../../offline/import.ts');
        const interrupt = new AbortController();
        const forget = io.onInterrupt(() => interrupt.abort());
        const started = performance.now();
        try {
          const plan = await importDump({
            from: options.from,
            targetUrl,
            choices: { policies, overrides },
            tempFolder: options.temp,
            signal: interrupt.signal,
            events: told(io, options.from),
          });
          if (plan.blockers.length > 0) return REFUSED;
          io.stdout.write(
            `done: ${counted(plan.tables.length, 'table')} in ${describeTarget(targetUrl)} (${duration(performance.now() - started)})\n`,
          );
          return 0;
        } catch (error) {
          // An error of ours says what it left.
          if (!interrupt.signal.aborted || error instanceof CrossfadeError) throw error;
          io.stderr.write('crossfade: interrupted; the target is empty again\n');
          return INTERRUPTED;
        } finally {
          forget();
        }
      }),
    );
}

function told(io: Io, from: string): ImportEvents {
  const say = (line: string): unknown => io.stdout.write(`${line}\n`);
  return {
    loaded: (read, ms) => say(`read: ${from}, ${bytes(read)} (${duration(ms)})`),
    lost: (notices) => notices.forEach((notice) => say(`notice: the dump: ${notice}`)),
    planned: (plan) => tellPlan(io, plan),
    copied: ({ rows, ms, tables }) => {
      for (const { table, rows: copied } of tables) say(`  ${table}: ${counted(copied, 'row')}`);
      say(`copied: ${counted(rows, 'row')} (${duration(ms)})`);
    },
    indexed: (views) => views.leftOut.forEach(({ message }) => say(`notice: ${message}`)),
    verified: ({ rows, ms }) =>
      say(`compared: ${counted(rows, 'row')}, every one agrees, and so does the schema (${duration(ms)})`),
  };
}

function tellPlan(io: Io, plan: Plan): void {
  if (plan.blockers.length > 0) {
    io.stdout.write(renderPlan(plan, { width: widthOf(io.stdout) }));
    return;
  }
  for (const { message } of plan.notices) io.stdout.write(`notice: ${message}\n`);
}
