/** The application as a process of its own, with both databases open. SOURCE_URL and TARGET_URL name them. */
import { DatabaseConnection } from '../src/index.ts';
import { required, serve } from './serve.ts';

await serve((onAlert) => {
  const store = new DatabaseConnection({
    source: required('SOURCE_URL'),
    target: required('TARGET_URL'),
    onAlert: ({ kind }) => onAlert(kind),
  });
  return { store, close: () => store.close() };
});
