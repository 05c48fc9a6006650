// @ts-check
/**
 * Lets Temporal's SDK download its dev server into the directory argv[2]. A process of its own: the SDK allows one
 * runtime per process, which belongs to the worker, and its download knows no deadline.
 */
import { TestWorkflowEnvironment } from '@temporalio/testing';

try {
  const environment = await TestWorkflowEnvironment.createLocal({
    server: { executable: { type: 'cached-download', downloadDir: process.argv[2] ?? '.' } },
  });
  await environment.teardown();
} catch (error) {
  // One line, for the operator.
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
