/** Shows a migration until it ends, and says how it ended. */
import { writeFile } from 'node:fs/promises';
import type { Client } from '@temporalio/client';
import type { Verdict } from '../contract.ts';
import { CrossfadeError, messageOf } from '../errors.ts';
import { verdictLine } from '../verdict-text.ts';
import type { Ending } from './ending.ts';
import type { Io } from './io.ts';
import { paintFor, widthOf } from './view/format.ts';
import { createView } from './view/live.ts';
import { renderReport } from './view/report.ts';
import { watchMigration, type WatchOptions } from './view/watch.ts';

export interface FollowOptions extends Omit<WatchOptions, 'onSnapshot'> {
  /** Lines instead of a screen. */
  plain: boolean;
  /** Ends the watch with an error. */
  failed?: Promise<never>;
}

/** @returns undefined where the watch was ended by its signal */
export async function follow(
  io: Io,
  client: Client,
  workflowId: string,
  options: FollowOptions,
): Promise<Ending | undefined> {
  const view = await createView(io.stdout, io.env, options.plain);
  const end = new AbortController();
  const signal = options.signal === undefined ? end.signal : AbortSignal.any([options.signal, end.signal]);
  const watch = watchMigration(client, workflowId, {
    ...options,
    signal,
    onSnapshot: (snapshot) => {
      if (!signal.aborted) view.show(snapshot);
    },
  });
  try {
    return await (options.failed === undefined ? watch : Promise.race([watch, options.failed]));
  } finally {
    view.end();
    end.abort();
    // Its last call comes to rest before the caller closes the connection, which would fail it unheard.
    await watch.catch(() => undefined);
  }
}

/** Prints the report, or the verdict, or why there is none. @returns the exit status */
export async function conclude(io: Io, ending: Ending, reportFile: string | undefined): Promise<number> {
  if (ending.report !== undefined) {
    io.stdout.write(`${renderReport(ending.report, widthOf(io.stdout), paintFor(io.stdout, io.env))}\n`);
  }
  if (isVerdict(ending.result)) io.stdout.write(`${verdictLine(ending.result)}\n`);
  if (ending.message !== undefined) io.stderr.write(`crossfade: ${ending.message}\n`);
  if (reportFile !== undefined) {
    const content = ending.report ?? { outcome: 'failed', reason: ending.message };
    try {
      await writeFile(reportFile, `${JSON.stringify(content, null, 2)}\n`);
    } catch (error) {
      throw new CrossfadeError(
        'InvalidInput',
        `the report ${reportFile} cannot be written: ${messageOf(error)}`,
        error,
      );
    }
  }
  return ending.exit;
}

function isVerdict(value: unknown): value is Verdict {
  return typeof value === 'object' && value !== null && 'mismatchCount' in value;
}
