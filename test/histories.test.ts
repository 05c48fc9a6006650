/**
 * Recorded histories replay: a change of the workflow that would break running migrations fails here. Record new ones
 * with `RECORD_HISTORIES=1 npx jest test/migrate-database.test.ts` only for a change that is versioned.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { bundleWorkflows } from '../src/worker.ts';

const FOLDER = new URL('./histories/', import.meta.url);
const NAMES = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));

describe('recorded histories', () => {
  let workflowBundle: WorkflowBundle;

  beforeAll(async () => {
    workflowBundle = await bundleWorkflows();
  });

  it('are there for every kind of ending', () => {
    expect(NAMES).toEqual(['complete.json', 'killed.json', 'paused-and-cancelled.json', 'rolled-back.json']);
  });

  it.each(NAMES)('%s replays', async (name) => {
    const history: unknown = JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'));
    await Worker.runReplayHistory(
      { workflowBundle },
      history as Parameters<typeof Worker.runReplayHistory>[1],
    );
  });

  it('of a run that did something else are refused', async () => {
    const history = JSON.parse(
      readFileSync(new URL('complete.json', FOLDER), 'utf8').replaceAll('planMigration', 'guessMigration'),
    ) as unknown;
    await expect(
      Worker.runReplayHistory({ workflowBundle }, history as Parameters<typeof Worker.runReplayHistory>[1]),
    ).rejects.toThrow(/[Nn]ondeterminism/);
  });
});
