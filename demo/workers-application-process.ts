/** The application's users as a process of its own; Workers serve them. WORKER_URLS has their addresses. */
import { WorkersStore } from './application/workers-store.ts';
import { required, serve } from './serve.ts';

await serve((onAlert) => ({
  store: WorkersStore.of(required('WORKER_URLS').split(' '), onAlert),
  close: async () => undefined,
}));
