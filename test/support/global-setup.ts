import { build } from './build.ts';
import { startServers } from './servers.ts';

export default async function setUp(): Promise<void> {
  // Once, before the first test: files that run at the same time start processes of the same code.
  await build();
  await startServers();
}
