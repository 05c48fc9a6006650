/** A namespace of its own on the test run's Temporal server, so that a test may decide what is registered in it. */
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';

export interface TestNamespace {
  name: string;
  address: string;
  client: Client;
  drop(): Promise<void>;
}

export async function createNamespace(): Promise<TestNamespace> {
  const address = process.env['TEST_TEMPORAL_ADDRESS'];
  if (address === undefined) throw new Error('the global set-up of jest starts a Temporal server');
  const connection = await Connection.connect({ address });
  const namespace = `test-${randomUUID().slice(0, 8)}`;
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
  });
  return {
    name: namespace,
    address,
    client: new Client({ connection, namespace }),
    async drop() {
      await connection.operatorService.deleteNamespace({ namespace });
      await connection.close();
    },
  };
}

/** Leaves no room in a namespace of a SQL server for attributes of these types. */
export async function fillNamespace(
  { client, name: namespace }: TestNamespace,
  room: { keywords: number; ints: number },
): Promise<void> {
  const { operatorService } = client.connection;
  for (const [type, count] of [
    [2, room.keywords],
    [3, room.ints],
  ] as const) {
    for (let i = 0; i < count; i++) {
      const searchAttributes = { [`Other${type}x${i}`]: type };
      await operatorService.addSearchAttributes({ namespace, searchAttributes });
    }
  }
}
