/** `npm run bench`: exit status 0 where every measurement ran and the sides did the same work, whatever the ratios are. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../src/errors.ts';
import { parseArguments } from './arguments.ts';
import { Bench } from './bench.ts';
import { Cleanup } from './cleanup.ts';
import { describeMachine } from './machine.ts';
import { MEASUREMENTS } from './measurements/index.ts';
import { renderMachine, renderSection } from './report.ts';
import type { Section } from './results.ts';
import { findServer } from './target.ts';

const args = process.argv.slice(2);
const options = parseArguments(
  args,
  MEASUREMENTS.map(({ name }) => name),
);
const stopping = new AbortController();
const STATUS: Partial<Record<NodeJS.Signals, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
let stoppedBy: NodeJS.Signals | undefined;
for (const signal of Object.keys(STATUS) as NodeJS.Signals[]) {
  process.on(signal, () => {
    // The second time, at once.
    if (stoppedBy !== undefined) process.exit(STATUS[signal]);
    stoppedBy = signal;
    stopping.abort(new Error(`stopped by ${signal}`));
  });
}

/** Progress goes where it does not mix with the report. */
const log = (line: string): void => void process.stderr.write(`${line}\n`);

/** @returns what was measured, and the errors of what could not be */
async function runAll(cleanup: Cleanup): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-bench-'));
  // The server reads a file of ours and may run as another user; the names in it are no secret to guess.
  chmodSync(directory, 0o711);
  cleanup.add('remove the files', () => rmSync(directory, { recursive: true, force: true }));
  const server = await findServer(directory, cleanup, log);
  const machine = await describeMachine(server, args);
  process.stdout.write(`${renderMachine(machine)}\n\n`);

  const bench = new Bench({ options, server, directory, cleanup, signal: stopping.signal, onLine: log });
  const sections: (Section & { name: string })[] = [];
  const failures: string[] = [];
  for (const measurement of MEASUREMENTS) {
    if (!options.only.includes(measurement.name)) continue;
    try {
      const section = await measurement.run(bench);
      sections.push({ name: measurement.name, ...section });
      process.stdout.write(`${renderSection(section)}\n\n`);
    } catch (error) {
      stopping.signal.throwIfAborted();
      failures.push(`${measurement.name}: ${messageOf(error)}`);
      process.stdout.write(`${measurement.name}: FAILED: ${messageOf(error)}\n\n`);
    }
  }
  if (options.json !== undefined) {
    writeFileSync(options.json, `${JSON.stringify({ machine, options, sections, failures }, null, 2)}\n`);
  }
  return failures;
}

const cleanup = new Cleanup();
let status = 0;
try {
  if ((await runAll(cleanup)).length > 0) status = 1;
} catch (error) {
  log(messageOf(error));
  status = 1;
} finally {
  await cleanup.run().catch((error: unknown) => {
    log(messageOf(error));
    status = 1;
  });
}
process.exitCode = stoppedBy === undefined ? status : (STATUS[stoppedBy] ?? 1);
