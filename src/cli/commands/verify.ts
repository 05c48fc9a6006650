/** `crossfade verify`: compare the two databases of a migration, at any time. */
import type { Command } from 'commander';
import { DEFAULT_INPUT } from '../../contract.ts';
import { countArgument, databasesOf, withDatabases, type DatabaseOptions } from '../options.ts';
import type { Action } from '../program.ts';

interface Options extends DatabaseOptions {
  sample?: number;
  json?: boolean;
}

export function addVerify(program: Command, action: Action): void {
  withDatabases(program.command('verify'))
    .description('Compare every row of both databases, before, during or after a migration. Changes nothing.')
    .option(
      '--sample <rows>',
      'counts, and this many random rows per table, instead of every row',
      countArgument,
    )
    .option('--json', 'the verdict as JSON')
    .addHelpText(
      'after',
      `
Exit status 1: the databases differ.

Example:
  crossfade verify --source sqlite:shop.db --target postgres://shop@db.example.com/shop --sample 100`,
    )
    .action(
      action(async (io, options: Options) => {
        const { sourcePath, targetUrl } = databasesOf(options, io.env);
        const { verifyDatabases } = await import('../../engine/verify.ts');
        const { renderVerdict } = await import('../view/verdict.ts');
        const { paintFor, widthOf } = await import('../view/format.ts');
        const verdict = await verifyDatabases({
          sourcePath,
          targetUrl,
          mode: options.sample === undefined ? 'full' : 'sample',
          sampleRows: options.sample ?? DEFAULT_INPUT.verify.sampleRows,
        });
        const text =
          options.json === true
            ? JSON.stringify(verdict, null, 2)
            : renderVerdict(verdict, widthOf(io.stdout), paintFor(io.stdout, io.env));
        io.stdout.write(`${text}\n`);
        return verdict.equal && verdict.quarantined === 0 ? 0 : 1;
      }),
    );
}
