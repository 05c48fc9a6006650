/** As foreign-process, for D1: its writes to it are requests to a Worker without the router, CHAOS_FOREIGN. */
import { runForeign } from './foreign.ts';
import { ask, rowsOf } from './worker-messages.ts';

const address = process.env['CHAOS_FOREIGN'] ?? '';

await runForeign({
  async apply(statements) {
    rowsOf(await ask(address, { statements }));
  },
  close: () => undefined,
});
