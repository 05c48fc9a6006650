/** `crossfade verify`: compare the two databases of a migration, at any time. */
import type { Command } from 'commander';
import { DEFAULT_INPUT } from '../../contract.ts';
import { countArgument, databasesOf, withDatabases, type DatabaseOptions } from '../options.ts';
import type { Action } from '../program.ts';

interface Options extends DatabaseOptions {
  sample?: number;
  repair?: boolean;
  json?: boolean;
}

export function addVerify(program: Command, action: Action): void {
  withDatabases(program.command('verify'))
    .description(
      'Compare every row of both databases, and the schema, at any time after the copy of a migration. Changes nothing, ' +
        'but for --repair.',
    )
    .option(
      '--sample <rows>',
      'counts, and this many random rows per table, instead of every row',
      countArgument,
    )
    .option(
      '--repair',
      "have the primary's rows written again where the secondary's differ: their keys are put into the primary's " +
        'change log, and the running migration replays them',
    )
    .option('--json', 'the verdict as JSON')
    .addHelpText(
      'after',
      `
Exit status 1: the databases differ, after the repair where one was asked for.

Example:
  crossfade verify --source sqlite:shop.db --target postgres://shop@db.example.com/shop --sample 100`,
    )
    .action(
      action(async (io, options: Options) => {
        const { source, targetUrl } = databasesOf(options, io.env);
        const { verifyDatabases } = await import('../../engine/verify.ts');
        const { withSource } = await import('../../sources.ts');
        const { renderVerdict } = await import('../view/verdict.ts');
        const { paintFor, widthOf } = await import('../view/format.ts');
        const verdict = await withSource(source, io.env, (sourcePath) =>
          verifyDatabases({
            sourcePath,
            targetUrl,
            mode: options.sample === undefined ? 'full' : 'sample',
            sampleRows: options.sample ?? DEFAULT_INPUT.verify.sampleRows,
            repair: options.repair === true,
          }),
        );
        const text =
          options.json === true
            ? JSON.stringify(verdict, null, 2)
            : renderVerdict(verdict, widthOf(io.stdout), paintFor(io.stdout, io.env));
        io.stdout.write(`${text}\n`);
        return verdict.equal ? 0 : 1;
      }),
    );
}
