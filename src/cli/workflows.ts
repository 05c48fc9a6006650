/** Starting and finding workflows. */
import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  type Client,
  type Workflow,
} from '@temporalio/client';
import { TASK_QUEUE } from '../contract.ts';
import { CrossfadeError } from '../errors.ts';

export interface StartOptions {
  type: 'migrateDatabase' | 'rollbackMigration' | 'verifyDatabases';
  workflowId: string;
  input: unknown;
  taskQueue?: string;
  /** One line for Temporal's web UI. */
  summary: string;
}

/** @throws CrossfadeError MigrationExists where a workflow with this id runs */
export async function startWorkflow(client: Client, options: StartOptions): Promise<void> {
  const { type, workflowId, input, summary, taskQueue = TASK_QUEUE } = options;
  try {
    await client.workflow.start<Workflow>(type, {
      workflowId,
      taskQueue,
      args: [input],
      staticSummary: summary,
      // The default would hand back the running workflow as if it had been started.
      workflowIdConflictPolicy: 'FAIL',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw new CrossfadeError(
      'MigrationExists',
      `workflow "${workflowId}" runs already: "crossfade watch ${workflowId}" shows it, "crossfade abort ${workflowId}" ` +
        'rolls it back',
      error,
    );
  }
}

/**
 * The id that a command without one means: the only running migration, or else the latest.
 * @throws CrossfadeError NoMigration, InvalidInput where several run
 */
export async function meantWorkflow(client: Client, given: string | undefined): Promise<string> {
  if (given !== undefined) return given;
  const found: { id: string; running: boolean }[] = [];
  for await (const { workflowId, status } of client.workflow.list({
    query: `WorkflowType = 'migrateDatabase'`,
  })) {
    found.push({ id: workflowId, running: status.name === 'RUNNING' });
    if (found.length === 100) break;
  }
  const running = found.filter((one) => one.running);
  if (running.length > 1) {
    const ids = running.map(({ id }) => id).join(', ');
    throw new CrossfadeError('InvalidInput', `several migrations run: name one of ${ids}`);
  }
  const meant = running[0] ?? found[0];
  if (meant === undefined) {
    throw new CrossfadeError(
      'NoMigration',
      'there is no migration on this Temporal server: start one, or name its workflow',
    );
  }
  return meant.id;
}

/** Does a workflow with this id run? */
export async function runs(client: Client, workflowId: string): Promise<boolean> {
  try {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    return status.name === 'RUNNING' || status.name === 'PAUSED';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
