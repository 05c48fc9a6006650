/** `crossfade pause | resume | approve | abort`: the messages that a running migration understands. */
import { WorkflowNotFoundError, type WorkflowHandle } from '@temporalio/client';
import type { Command } from 'commander';
import { CrossfadeError } from '../../errors.ts';
import type { Io } from '../io.ts';
import type { Action } from '../program.ts';

interface Message {
  name: 'pause' | 'resume' | 'approve' | 'abort';
  description: string;
  said: string;
}

const MESSAGES: Message[] = [
  {
    name: 'pause',
    description: 'Stop before the next step; the application goes on, and so does replay.',
    said: 'asked to pause',
  },
  { name: 'resume', description: 'Go on after a pause.', said: 'asked to go on' },
  {
    name: 'approve',
    description: 'Let a stage or the cutover go ahead that waits for it.',
    said: 'approved',
  },
  {
    name: 'abort',
    description: 'Roll everything back: reads and writes return to SQLite, with every write that was made.',
    said: 'asked to roll back',
  },
];

export function addMessageCommands(program: Command, action: Action): void {
  for (const { name, description, said } of MESSAGES) {
    const command = program
      .command(name)
      .description(description)
      .argument('[id]', 'id of the workflow (default: the one that runs)')
      .addHelpText('after', `\nExample:\n  crossfade ${name} migrate-orders`);
    if (name === 'abort') command.option('--reason <text>', 'kept in the report');
    command.action(
      action((io, given: string | undefined, options: { reason?: string }) =>
        send(io, given, said, async (handle) => {
          const messages = await import('../../../workflows/messages.ts');
          if (name === 'pause') await handle.signal(messages.pauseSignal);
          if (name === 'resume') await handle.signal(messages.resumeSignal);
          if (name === 'approve') await handle.signal(messages.approveSignal);
          if (name === 'abort') await handle.signal(messages.abortSignal, options.reason);
        }),
      ),
    );
  }
}

async function send(
  io: Io,
  given: string | undefined,
  said: string,
  deliver: (handle: WorkflowHandle) => Promise<void>,
): Promise<number> {
  const { connectTemporal } = await import('../temporal.ts');
  const { meantWorkflow } = await import('../workflows.ts');
  const temporal = await connectTemporal(io.env, given);
  try {
    const workflowId = await meantWorkflow(temporal.client, given);
    try {
      await deliver(temporal.client.workflow.getHandle(workflowId));
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      throw new CrossfadeError(
        'NoMigration',
        `no workflow "${workflowId}" runs on ${temporal.address}`,
        error,
      );
    }
    io.stdout.write(`${workflowId}: ${said}; "crossfade status ${workflowId}" shows the effect\n`);
    return 0;
  } finally {
    await temporal.close();
  }
}
