/** `crossfade worker`: does the work that workflows ask for, until it is stopped. */
import { isIP } from 'node:net';
import { InvalidArgumentError, type Command } from 'commander';
import { TASK_QUEUE } from '../../contract.ts';
import type { Action } from '../program.ts';

export function addWorker(program: Command, action: Action): void {
  program
    .command('worker')
    .description(
      'Run a worker for the Temporal server that TEMPORAL_ADDRESS names, on the host that has the SQLite file.',
    )
    .option('--task-queue <name>', 'queue of the workflows', TASK_QUEUE)
    .option('--metrics <address>', 'serve metrics for Prometheus there, as 127.0.0.1:9464', socketAddress)
    .addHelpText(
      'after',
      `
Connections are found by name: "source" in SOURCE_URL, "orders" in ORDERS_URL, or in the JSON file that
CROSSFADE_CONFIG names: { "connections": { "orders": "sqlite:/data/orders.db" } }.
Also read: TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS, TEMPORAL_TLS_CLIENT_CERT_PATH, …

Example:
  SOURCE_URL=sqlite:shop.db TARGET_URL=postgres://shop@db.example.com/shop crossfade worker`,
    )
    .action(
      action(async (io, { taskQueue, metrics }: { taskQueue: string; metrics?: string }) => {
        const { connectTemporal } = await import('../temporal.ts');
        const { createWorkers } = await import('../../worker.ts');
        const temporal = await connectTemporal(io.env);
        await temporal.close();
        const { address, namespace } = temporal;
        const workers = await createWorkers({
          address,
          namespace,
          env: io.env,
          taskQueue,
          logLevel: 'info',
          ...(metrics === undefined ? {} : { metricsAddress: metrics }),
        });
        io.stderr.write(
          `crossfade: working on queue "${taskQueue}" of ${address}, namespace "${namespace}"\n`,
        );
        for (const notice of workers.notices) io.stderr.write(`crossfade: ${notice}\n`);
        let forget = (): void => undefined;
        const stopped = new Promise<void>((resolve) => (forget = io.onInterrupt(resolve)));
        try {
          await Promise.race([stopped, workers.failed]);
          io.stderr.write('crossfade: stopping …\n');
        } finally {
          await workers.stop();
          forget();
        }
        return 0;
      }),
    );
}

/** As Temporal's SDK takes it: an IP address and a port. */
function socketAddress(text: string): string {
  const [, host = '', port = ''] = /^\[?([^\]]*?)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (isIP(host) === 0 || Number(port) > 65_535)
    throw new InvalidArgumentError('an IP address and a port, as 127.0.0.1:9464 or [::1]:9464');
  return text;
}
