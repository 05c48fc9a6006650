import type { SourceControlRow } from '../src/protocol.ts';
import { decide, type SourceView, type TargetRow, type TargetView } from '../src/router/route.ts';

const source = (row: Partial<SourceControlRow>, openToken: string | null = null): SourceView => ({
  control: 'present',
  openToken,
  row: {
    migration: 'm',
    epoch: 1,
    state: 'open',
    fenceToken: null,
    fenceLeftMs: null,
    readPercent: 25,
    dualWrites: true,
    dualWriteTimeoutMs: 2_000,
    ...row,
  },
});

const target = (row: Partial<TargetRow>): TargetView => ({
  control: 'present',
  row: {
    migration: 'm',
    epoch: 1,
    state: 'standby',
    fenceToken: null,
    fenceLeftMs: null,
    position: 7,
    finished: false,
    ...row,
  },
});

const absent: SourceView = { control: 'absent', version: 3 };
const unreachable: TargetView = { control: 'unreachable', error: new Error('down') };

describe('the route', () => {
  it.each<[string, SourceView, TargetView, object]>([
    [
      'before a migration',
      absent,
      { control: 'absent' },
      { primary: 'source', accepts: true, readPercent: 0, sourceVersion: 3 },
    ],
    ['without a target', absent, { control: 'none' }, { primary: 'source', accepts: true, readPercent: 0 }],
    ['before, target down', absent, unreachable, { primary: 'source', accepts: true, readPercent: 0 }],
    [
      'target planned, not captured',
      absent,
      target({}),
      { primary: 'source', accepts: true, readPercent: 0 },
    ],
    [
      'a source that was put back to a time before the cutover',
      source({}),
      target({ state: 'open', epoch: 2 }),
      { primary: 'target', accepts: true },
    ],
    [
      'migrating',
      source({}),
      target({}),
      {
        primary: 'source',
        accepts: true,
        readPercent: 25,
        dualWrites: true,
        following: true,
        sourceVersion: null,
      },
    ],
    [
      'migrating, target down',
      source({}),
      unreachable,
      { primary: 'source', accepts: true, readPercent: 25 },
    ],
    [
      'a target of another migration',
      source({}),
      target({ migration: 'x' }),
      { primary: 'source', accepts: true, readPercent: 0, following: false },
    ],
    [
      'fencing',
      source({ state: 'fencing', fenceLeftMs: 50 }),
      target({}),
      { primary: 'source', accepts: false, readPercent: 25 },
    ],
    [
      'a fence that has lifted itself',
      source({ state: 'fencing', fenceLeftMs: -1 }),
      target({}),
      { primary: 'source', accepts: true },
    ],
    [
      'moved, target not open yet',
      source({ state: 'moved', epoch: 2 }, 't'),
      target({}),
      { primary: 'target', accepts: false, rollForward: { open: 'target', epoch: 2, token: 't' } },
    ],
    [
      'moved, target down',
      source({ state: 'moved', epoch: 2 }, 't'),
      unreachable,
      { primary: 'target', accepts: false },
    ],
    [
      'moved, target wiped',
      source({ state: 'moved', epoch: 2 }, 't'),
      { control: 'absent' },
      { primary: 'target', accepts: false },
    ],
    [
      'moved, target of another migration',
      source({ state: 'moved', epoch: 2 }, 't'),
      target({ migration: 'x', state: 'open' }),
      { primary: 'target', accepts: false },
    ],
    [
      'moved and open',
      source({ state: 'moved', epoch: 2 }),
      target({ state: 'open', epoch: 2 }),
      { primary: 'target', accepts: true, mayMoveBack: true, readPercent: 0 },
    ],
    [
      'moved back, fencing',
      source({ state: 'moved', epoch: 2 }),
      target({ state: 'fencing', epoch: 2, fenceLeftMs: 9 }),
      { primary: 'target', accepts: false },
    ],
    [
      'moved back, fence lifted',
      source({ state: 'moved', epoch: 2 }),
      target({ state: 'fencing', epoch: 2, fenceLeftMs: -9 }),
      { primary: 'target', accepts: true },
    ],
    [
      'moved back',
      source({ state: 'moved', epoch: 2 }),
      target({ state: 'moved', epoch: 3 }),
      { primary: 'source', accepts: false, rollForward: { open: 'source', epoch: 3 } },
    ],
    [
      'moved back and open',
      source({ state: 'open', epoch: 3, readPercent: 0 }),
      target({ state: 'moved', epoch: 3 }),
      { primary: 'source', accepts: true, readPercent: 0 },
    ],
    [
      'moved again',
      source({ state: 'moved', epoch: 4 }, 't'),
      target({ state: 'moved', epoch: 3 }),
      { primary: 'target', rollForward: { open: 'target', epoch: 4, token: 't' } },
    ],
    [
      'finished',
      absent,
      target({ state: 'open', epoch: 2, finished: true }),
      { primary: 'target', accepts: true, mayMoveBack: false, sourceVersion: 3 },
    ],
    ['control row deleted', { control: 'broken' }, target({}), { primary: 'source', accepts: false }],
    [
      'control row deleted, target open',
      { control: 'broken' },
      target({ state: 'open', epoch: 2 }),
      { primary: 'target', accepts: true },
    ],
  ])('%s', (_, from, to, expected) => {
    const route = decide(from, to);
    expect(route).toMatchObject(expected);
    if (!('rollForward' in expected)) expect(route.rollForward).toBeUndefined();
  });
});
