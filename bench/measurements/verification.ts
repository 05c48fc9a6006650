/** Full verification of both databases, against only reading every row out of one of them. */
import { quoted } from '../../src/databases/identifiers.ts';
import type { Verdict } from '../../src/contract.ts';
import type { Endpoints } from '../../src/engine/endpoints.ts';
import type { Bench } from '../bench.ts';
import { copied, type Copied } from '../copied.ts';
import { interleave, ratiosTo, type Side } from '../interleave.ts';
import { findProgram, libpqEnvironment, runShell } from '../programs.ts';
import type { Measurement } from '../results.ts';
import { columnList } from '../tables.ts';
import { runTask } from '../tasks/run-task.ts';

const CROSSFADE = 'crossfade, full verification';
const COPY_OUT = 'psql: COPY … TO STDOUT';

export const verification: Measurement = {
  name: 'verification',
  async run(bench) {
    const pair = await copied(bench, bench.options.rows);
    const results = await interleave(
      [crossfade(bench, pair), copyOut(bench, pair)],
      bench.options.runs,
      bench.signal,
      bench.onRun('verification'),
    );
    return {
      title: 'verification: every row of both databases compared',
      unit: 'rows',
      sides: results,
      ratios: ratiosTo(CROSSFADE, results, { [COPY_OUT]: 1.7 }),
      figures: [],
      notes: [],
    };
  },
};

function crossfade(bench: Bench, { endpoints, source }: Copied): Side {
  return {
    name: CROSSFADE,
    async run() {
      const { ms, peakRss, result } = await runTask<Endpoints, Verdict>('verify', endpoints, bench.signal);
      if (!result.equal) throw new Error(`the databases differ: ${JSON.stringify(result.mismatches)}`);
      return { ms, units: source.rows, result: `${result.rows} rows`, peakRss };
    },
  };
}

function copyOut(bench: Bench, { endpoints, source }: Copied): Side {
  return {
    name: COPY_OUT,
    ...(findProgram('psql') === undefined ? { unavailable: 'psql not installed' } : {}),
    async run() {
      const commands = source.plan.tables.map(
        (table) => `\\copy public.${quoted(table.name)} (${columnList(table)}) TO '/dev/null'`,
      );
      const { ms, stdout } = await runShell(
        'printf "%s\\n" "$@" | psql -X -v ON_ERROR_STOP=1',
        commands,
        libpqEnvironment(endpoints.targetUrl),
        bench.signal,
      );
      // psql answers each with "COPY <rows>".
      const rows = [...stdout.matchAll(/COPY (\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
      return { ms, units: source.rows, result: `${rows} rows` };
    },
  };
}
