/** Part of the build: bundles the workflows once, so that no worker pays for it (2 s and 70 MB of memory) at its start. */
import { writeFile } from 'node:fs/promises';
import { BUNDLE_PATH, bundleWorkflows } from './worker.ts';

const { code } = await bundleWorkflows();
await writeFile(BUNDLE_PATH, code);
