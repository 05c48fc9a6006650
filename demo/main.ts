/** `npm run demo`: exit status 0 only where nothing was lost and every row agrees. */
import { writeFileSync } from 'node:fs';
import { messageOf } from '../src/errors.ts';
import { parseArguments } from './arguments.ts';
import { runDemo } from './conductor.ts';
import { renderDemoReport } from './report.ts';

const options = parseArguments(process.argv.slice(2));
const stopping = new AbortController();

const STATUS: Partial<Record<NodeJS.Signals, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
let stoppedBy: NodeJS.Signals | undefined;
for (const signal of Object.keys(STATUS) as NodeJS.Signals[]) {
  process.on(signal, () => {
    // The second time, at once: what is left ends by itself when its channel to this process closes.
    if (stoppedBy !== undefined) process.exit(STATUS[signal]);
    stoppedBy = signal;
    stopping.abort(new Error(`stopped by ${signal}`));
  });
}

let status: number;
try {
  const report = await runDemo(options, process.stdout, stopping.signal);
  process.stdout.write(`\n${renderDemoReport(report)}\n`);
  if (options.report !== undefined) writeFileSync(options.report, `${JSON.stringify(report, null, 2)}\n`);
  status = report.ok ? 0 : 1;
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  status = stoppedBy === undefined ? 1 : (STATUS[stoppedBy] ?? 1);
}
// Connections that a library still holds must not keep the terminal.
process.exit(status);
