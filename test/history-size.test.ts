/**
 * The history of a migration does not grow with its rows or with the length of its soak, and what is repeated until
 * somebody helps stays within Temporal's limits for 30 days. The waits here are short; events are counted.
 */
import { temporal } from '@temporalio/proto';
import { LONGEST_RETRY_MS, LONGEST_WINDOW_MS } from '../src/waits.ts';
import { eventually } from './support/eventually.ts';
import { Way, Ways } from './support/ways.ts';

jest.setTimeout(180_000);

/** https://docs.temporal.io/workflow-execution/limits */
const MAX_EVENTS = 51_200;
const MAX_BYTES = 50 * 1024 * 1024;
const DAYS_30 = 30 * 24 * 60 * 60_000;

type History = temporal.api.history.v1.IHistory;

let ways: Ways;
let way: Way | undefined;

beforeAll(async () => {
  ways = await Ways.start();
});

afterEach(async () => {
  await way?.dispose();
  way = undefined;
});

afterAll(() => ways.stop());

const bytesOf = (events: History['events']): number =>
  temporal.api.history.v1.History.encode({ events: events ?? [] }).finish().length;

async function historyOf({ workflowId }: Way): Promise<temporal.api.history.v1.IHistoryEvent[]> {
  return (await ways.client.workflow.getHandle(workflowId).fetchHistory()).events ?? [];
}

const activity = (event: temporal.api.history.v1.IHistoryEvent): string | undefined =>
  event.activityTaskScheduledEventAttributes?.activityType?.name ?? undefined;

/** Events from one call of the activity to the next, for the last two calls. */
function lastRound(events: temporal.api.history.v1.IHistoryEvent[], name: string) {
  const calls = events.flatMap((event, i) => (activity(event) === name ? [i] : []));
  return events.slice(calls.at(-2), calls.at(-1));
}

/** A whole migration. */
async function complete(rows: number, soakMs: number): Promise<temporal.api.history.v1.IHistoryEvent[]> {
  const one = await Way.create(ways, rows);
  way = one;
  const handle = await one.start({ soakMs, shift: { stages: [50], stageWaitMs: 1_000 } });
  expect(await handle.result()).toMatchObject({ outcome: 'complete' });
  const events = await historyOf(one);
  way = undefined;
  await one.dispose();
  return events;
}

it('is as long for many rows as for few, and as long for a long soak as for a short one', async () => {
  const few = await complete(0, 100);
  const many = await complete(20_000, 3_000);
  // A gate may look once more, for reads that have not been reported yet.
  expect(many.length - few.length).toBeLessThan(30);
  expect(bytesOf(many) - bytesOf(few)).toBeLessThan(5_000);
  expect(many.length).toBeLessThan(200);
  for (const events of [few, many]) {
    const soak = events.slice(events.findIndex((event) => activity(event) === 'cutOverWrites') + 1);
    expect(soak.map(activity).filter((name) => name !== undefined)).toEqual([
      'reverseChanges',
      'finishMigration',
    ]);
    expect(soak.filter((event) => event.timerStartedEventAttributes)).toHaveLength(1);
  }
});

it('has room for 30 days of a stage that holds', async () => {
  const one = await Way.create(ways);
  way = one;
  const handle = await one.start({
    shift: { stages: [50], stageWaitMs: 50 },
    gates: { minSamples: 1e9, latencyFloorMs: 60_000 },
  });
  const measured = async (): Promise<number> =>
    (await historyOf(one)).filter((event) => activity(event) === 'measureStage').length;
  await eventually('it was judged four times', async () => (await measured()) >= 4, 120_000);
  await handle.signal('abort');
  await one.failure();
  const events = await historyOf(one);
  expectRoomFor(events, lastRound(events, 'measureStage'), LONGEST_WINDOW_MS);
});

it('has room for 30 days of a roll-back that cannot go on, and goes on at once where it is told to', async () => {
  const one = await Way.create(ways);
  way = one;
  const handle = await one.start();
  await eventually('it copies', async () => (await one.status()).phase !== 'plan', 60_000);
  const called = async (): Promise<number> =>
    (await historyOf(one)).filter((event) => activity(event) === 'leaveTarget').length;
  one.interfere('fail', 'leaveTarget').release();
  await handle.signal('abort');
  await eventually(
    'it failed once',
    async () => /will be repeated/.test((await one.status()).reason ?? ''),
    60_000,
  );
  one.interfere('fail', 'leaveTarget').release();
  await eventually('it failed twice', async () => (await called()) === 2, 60_000);
  await eventually('it waits', async () => /will be repeated/.test((await one.status()).reason ?? ''));
  const events = await historyOf(one);
  await handle.signal('approve');
  expect(await one.failure()).toMatchObject({ type: 'Aborted' });
  expectRoomFor(events, lastRound(events, 'leaveTarget'), LONGEST_RETRY_MS);
});

function expectRoomFor(
  events: temporal.api.history.v1.IHistoryEvent[],
  round: temporal.api.history.v1.IHistoryEvent[],
  waitMs: number,
): void {
  const rounds = DAYS_30 / waitMs;
  expect(round.length).toBeGreaterThan(3);
  // Half of the limits: other phases have their share.
  expect(events.length + rounds * round.length).toBeLessThan(MAX_EVENTS / 2);
  expect(bytesOf(events) + rounds * bytesOf(round)).toBeLessThan(MAX_BYTES / 2);
}
