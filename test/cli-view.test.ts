import { stripVTControlCharacters } from 'node:util';
import {
  PHASES,
  type MigrationReport,
  type MigrationStatus,
  type Phase,
  type PhaseRecord,
  type Progress,
  type TrafficSnapshot,
} from '../src/contract.ts';
import {
  bar,
  bytes,
  coloured,
  count,
  duration,
  fit,
  paintFor,
  plain,
  visibleLength,
  wrap,
} from '../src/cli/view/format.ts';
import { createView } from '../src/cli/view/live.ts';
import { phaseName } from '../src/cli/view/phases.ts';
import { PlainPrinter } from '../src/cli/view/plain-printer.ts';
import { renderReport } from '../src/cli/view/report.ts';
import { renderScreen } from '../src/cli/view/screen.ts';
import { workflowUrl, type Snapshot } from '../src/cli/view/snapshot.ts';
import { renderVerdict } from '../src/cli/view/verdict.ts';

const START = Date.parse('2026-01-01T00:00:00Z');

function at(seconds: number): string {
  return new Date(START + seconds * 1_000).toISOString();
}

/** Phases before `phase` took ten seconds each; it has run for five. */
function reached(phase: Phase): { phases: PhaseRecord[]; now: number } {
  const index = PHASES.indexOf(phase);
  const phases = PHASES.slice(0, index + 1).map((one, i) => ({
    phase: one,
    startedAt: at(i * 10),
    ...(i < index ? { endedAt: at(i * 10 + 10) } : {}),
  }));
  return { phases, now: START + (index * 10 + 5) * 1_000 };
}

function snapshot(
  phase: Phase,
  status: Partial<MigrationStatus> = {},
  rest: Partial<Snapshot> = {},
): Snapshot {
  const { phases, now } = reached(phase);
  return {
    workflowId: 'migrate-shop',
    status: {
      migration: 'migrate-shop/1',
      source: 'shop',
      target: 'pg',
      outcome: 'running',
      phase,
      phases,
      paused: false,
      primary: 'source',
      readPercent: 0,
      stages: [],
      ...status,
    },
    progress: [],
    retrying: [],
    unanswered: false,
    now,
    ...rest,
  };
}

const copy: Progress = {
  kind: 'copy',
  table: 'analytics',
  rows: 250_000,
  rowsTotal: 1_000_000,
  bytes: 35_000_000,
  rowsPerSecond: 50_000,
  bytesPerSecond: 7_000_000,
};
const replay: Progress = {
  kind: 'replay',
  position: 9,
  head: 12,
  lagMs: 350,
  changes: 1_234,
  quarantined: 0,
};
const figures = (reads: number, p95Ms: number, errors = 0) => ({
  count: reads,
  errors,
  p50Ms: p95Ms / 2,
  p95Ms,
});
const traffic: TrafficSnapshot = {
  routers: 2,
  windowMs: 5_000,
  reads: { source: figures(4_000, 0.4), target: figures(500, 1.9, 3) },
  writes: { source: figures(500, 2), target: figures(0, 0) },
  fallbacks: 3,
  dualWriteFailures: 0,
};
const gate = {
  judgedBy: 'routers' as const,
  reads: { source: figures(900, 0.4), target: figures(400, 1.9, 2) },
  lagMs: 350,
  mismatches: 0,
  quarantined: 0,
};

const everything: Snapshot[] = [
  ...PHASES.map((phase) => snapshot(phase, {}, { progress: [copy, replay], traffic })),
  snapshot('copy', { paused: true, waitingFor: 'a very long explanation '.repeat(20) }),
  snapshot('copy', {}, { retrying: [{ activity: 'copyRows', attempt: 7, message: 'x'.repeat(500) }] }),
  snapshot('shift', {
    source: 'ü'.repeat(200),
    stages: [
      {
        percent: 10,
        startedAt: at(70),
        figures: gate,
        decision: { verdict: 'breach', reasons: ['y '.repeat(300)] },
      },
    ],
  }),
  snapshot('verify', { outcome: 'failed', reason: 'the disk is full' }),
  { workflowId: 'w', progress: [], retrying: [], unanswered: true, now: START },
];

describe('renderScreen', () => {
  it.each([20, 60, 80, 97, 300])(
    'keeps every line of the frame within a width of %d, coloured or not',
    (width) => {
      for (const one of everything) {
        for (const paint of [plain, coloured]) {
          const lines = stripVTControlCharacters(renderScreen(one, width, paint)).split('\n');
          const cells = Math.min(100, Math.max(60, width));
          for (const line of lines) expect([...line].length).toBe(cells);
        }
      }
    },
  );

  it('shows the same text with and without colours', () => {
    for (const one of everything) {
      expect(stripVTControlCharacters(renderScreen(one, 80, coloured))).toBe(renderScreen(one, 80));
    }
    expect(renderScreen(everything[0]!, 80)).toBe(stripVTControlCharacters(renderScreen(everything[0]!, 80)));
  });

  it('ticks off what is done, with its time, and keeps the order of the phases', () => {
    const lines = renderScreen(snapshot('verify'), 80).split('\n');
    expect(lines.filter((line) => line.includes('✔'))).toHaveLength(PHASES.indexOf('verify'));
    expect(lines.filter((line) => line.includes('✔')).every((line) => /10 s │$/.test(line))).toBe(true);
    expect(lines.find((line) => line.includes('verify'))).toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] verify .* 5\.0 s │/);
    expect(lines.filter((line) => line.includes('○'))).toHaveLength(
      PHASES.length - 1 - PHASES.indexOf('verify'),
    );
  });

  it('shows how far the copy is, how fast, and when it ends', () => {
    const text = renderScreen(snapshot('copy', {}, { progress: [copy, replay] }), 80);
    expect(text).toContain('25 %');
    expect(text).toContain('250,000 of 1,000,000 rows · 35.0 MB · now analytics');
    expect(text).toContain('50,000 rows/s · 7.0 MB/s · 15 s left');
    expect(text).toContain('0.35 s · 1,234 changes replayed');
  });

  it('promises no end where nothing moves', () => {
    const still = renderScreen(snapshot('copy', {}, { progress: [{ ...copy, rowsPerSecond: 0 }] }), 80);
    expect(still).not.toContain('left');
    expect(
      renderScreen(snapshot('copy', {}, { progress: [{ ...copy, rows: 0, rowsTotal: 0 }] }), 80),
    ).toContain('0 %');
  });

  it('shows the read percentage with the figures of the gate, and the application', () => {
    const text = renderScreen(
      snapshot(
        'shift',
        {
          readPercent: 25,
          stages: [
            {
              percent: 10,
              startedAt: at(70),
              figures: gate,
              decision: { verdict: 'pass', reasons: ['good'] },
            },
            { percent: 25, startedAt: at(72) },
          ],
        },
        { traffic },
      ),
      80,
    );
    expect(text).toContain('25 % on PostgreSQL');
    expect(text).toContain('pass · p95 0.40 ms → 1.9 ms · errors 0.50 % · 400 reads');
    expect(text).toContain('1,000 ops/s · 3 errors');
    expect(text).toContain('0.40 ms SQLite, 1.9 ms PostgreSQL');
    expect(text).toContain('3 reads fell back');
  });

  it('never cuts what a person must read', () => {
    const message = 'target db.example.com:5432/shop cannot be reached: '.repeat(4).trim();
    const text = renderScreen(
      snapshot('copy', {}, { retrying: [{ activity: 'copyRows', attempt: 3, message }] }),
      60,
    );
    const words = text.replaceAll(/[│\s]+/g, ' ');
    expect(words).toContain(`copyRows failed and is tried again (attempt 3): ${message}`);
  });

  it('shows the address of the workflow whole, whatever the width', () => {
    const uiUrl = workflowUrl('http://127.0.0.1:8233', 'default', `migrate-${'long'.repeat(30)}`);
    expect(renderScreen(snapshot('copy', {}, { uiUrl }), 60)).toContain(uiUrl);
    expect(workflowUrl('http://u', 'a b', 'x/y')).toBe('http://u/namespaces/a%20b/workflows/x%2Fy');
  });

  it('says what it waits for, and how to go on', () => {
    const paused = renderScreen(snapshot('copy', { paused: true, waitingFor: 'an approval' }), 80);
    expect(paused).toContain('paused: crossfade resume migrate-shop');
    expect(paused).toContain('waiting for an approval');
    expect(paused).toContain('· crossfade approve migrate-shop, or crossfade abort migrate-shop');
    expect(renderScreen(everything.at(-1)!, 80)).toContain('waiting for a worker');
  });

  it('says what comes next where a stage did not pass, and once only', () => {
    const stage = { percent: 50, startedAt: at(70), figures: gate };
    const shown = (verdict: 'hold' | 'breach', status: Partial<MigrationStatus> = {}): string => {
      const reason = 'gate at 50 %: slow';
      const stages = [{ ...stage, decision: { verdict, reasons: ['slow'] } }];
      const text = renderScreen(snapshot('shift', { readPercent: 10, reason, stages, ...status }), 100);
      return text.replaceAll(/[│\s]+/g, ' ');
    };
    expect(shown('breach')).toContain(
      "stepped back to 10 % of the reads; 50 % is tried again after a stage's time",
    );
    expect(shown('breach')).not.toContain('gate at 50 %: slow');
    expect(shown('hold')).toContain('crossfade approve migrate-shop lets it pass');
    const waiting = shown('breach', {
      waitingFor: '"approve" to try again, because of the gate at 50 %: slow',
    });
    expect(waiting.split('gate at 50 %: slow')).toHaveLength(2);
    expect(waiting).not.toContain('stepped back');
  });

  it.each([
    ['source', 'blocks the cutover'],
    ['target', 'stands against a roll-back'],
  ] as const)('shows rows in quarantine while the %s is primary', (primary, effect) => {
    const text = renderScreen(
      snapshot('soak', { primary }, { progress: [{ ...replay, quarantined: 1 }] }),
      100,
    );
    expect(text).toContain(`1 row set aside, which ${effect} until they are changed`);
  });

  it('says during the soak that the way back is open', () => {
    expect(renderScreen(snapshot('soak', { primary: 'target' }), 100)).toContain(
      'the way back is open: crossfade abort migrate-shop brings every write back to SQLite',
    );
  });

  it('shows what the activities report where nobody answers for the workflow', () => {
    const text = renderScreen({ ...everything.at(-1)!, progress: [copy, replay], taskQueue: 'orders' }, 100);
    expect(text).toContain('copy: 250,000 of 1,000,000 rows · now analytics');
    expect(text).toContain('replay: lag 0.35 s · 1,234 changes replayed');
    expect(text).toContain('no worker on queue "orders" answers; it goes on when one runs: crossfade worker');
  });

  it('shows a roll-back and its steps', () => {
    const text = renderScreen(
      snapshot('shift', {
        outcome: 'rolled back',
        rollback: { reason: 'tea', steps: ['reads: all on the source'] },
      }),
      80,
    );
    expect(text).toContain('rolled back: tea');
    expect(text).toContain('· reads: all on the source');
    expect(text).toContain('rolled back');
  });
});

describe('PlainPrinter', () => {
  function printed(snapshots: Snapshot[], everyMs = 5_000): string[] {
    const lines: string[] = [];
    const printer = new PlainPrinter((line) => lines.push(line), everyMs);
    for (const one of snapshots) printer.print(one);
    return lines;
  }

  it('prints each change once, in lines without control characters', () => {
    const one = snapshot('copy', {}, { uiUrl: 'http://ui' });
    const lines = printed([one, one, { ...one, now: one.now + 1_000 }]);
    expect(new Set(lines).size).toBe(lines.length);
    expect(lines.filter((line) => line.includes('http://ui'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('copy …'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('done in 10 s'))).toHaveLength(4);
    for (const line of lines) expect(line).toBe(stripVTControlCharacters(line));
  });

  it('speaks at least every few seconds while something moves', () => {
    const one = snapshot('copy', {}, { progress: [copy, replay], traffic });
    const run = Array.from({ length: 21 }, (_, i) => ({ ...one, now: one.now + i * 500 }));
    const progress = printed(run).filter((line) => line.includes('rows/s'));
    expect(progress).toHaveLength(2);
    expect(progress[0]).toContain(
      'copy · 25 % · 250,000 of 1,000,000 rows · 35.0 MB · 50,000 rows/s · 15 s left',
    );
    expect(progress[0]).toContain('lag 0.35 s');
    expect(progress[0]).toContain('1,000 ops/s · 3 errors');
  });

  it('is nearly silent while a person is waited for', () => {
    const one = snapshot('shift', { waitingFor: 'an approval' });
    const run = Array.from({ length: 240 }, (_, i) => ({ ...one, now: one.now + i * 1_000 }));
    const lines = printed(run);
    expect(lines.filter((line) => line.includes('waiting for an approval'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('shift reads'))).toHaveLength(1);
  });

  it('tells stages, gates, pauses, retries and the roll-back', () => {
    const stage = { percent: 10, startedAt: at(70), figures: gate };
    const lines = printed([
      snapshot('shift', { readPercent: 10, stages: [stage] }),
      snapshot('shift', {
        readPercent: 10,
        stages: [{ ...stage, decision: { verdict: 'breach', reasons: ['slow', 'late'] } }],
      }),
      snapshot('shift', { paused: true }),
      snapshot('shift', { paused: false }),
      snapshot('shift', {}, { retrying: [{ activity: 'replayChanges', attempt: 2, message: 'gone' }] }),
      snapshot('shift', {}, { unanswered: true, taskQueue: 'crossfade' }),
      snapshot('shift', {}, { progress: [{ ...replay, quarantined: 2 }] }),
      snapshot('shift', { reason: 'tea', rollback: { reason: 'tea', steps: ['one'] } }),
      snapshot('shift', { reason: 'a column too many', rollback: { reason: 'tea', steps: ['one'] } }),
      snapshot('shift', { reason: 'a column too many', rollback: { reason: 'tea', steps: ['one'] } }),
      snapshot('shift', { reason: 'tea', rollback: { reason: 'tea', steps: ['one', 'two'] } }),
    ]).map((line) => line.slice(10));
    expect(lines.slice(-12)).toEqual([
      '10 % of reads on PostgreSQL',
      'gate at 10 %: breach: slow; late',
      '0 % of reads on PostgreSQL',
      'paused',
      'resumed',
      'replayChanges failed and is tried again (attempt 2): gone',
      'no worker on queue "crossfade" answers; it goes on when one runs: crossfade worker',
      '2 rows set aside, which blocks the cutover until they are changed',
      'rolling back: tea',
      '  one',
      '  a column too many',
      '  two',
    ]);
  });
});

describe('renderReport', () => {
  const { phases } = reached('finish');
  const report: MigrationReport = {
    migration: 'migrate-shop/1',
    outcome: 'complete',
    startedAt: at(0),
    endedAt: at(125),
    phases: phases.map((phase) => ({ ...phase, endedAt: phase.endedAt ?? at(125), ms: 10_000 })),
    plan: {
      tables: 2,
      rows: 1_500,
      bytes: 4_096,
      blockers: [],
      notices: [],
      blockerCount: 0,
      noticeCount: 1,
    },
    backup: { path: `/data/${'deep/'.repeat(40)}shop.db.backup`, bytes: 4_096 },
    copy: {
      rows: 1_500,
      bytes: 9_000,
      ms: 500,
      tables: [
        { table: 'users', rows: 1_000, bytes: 6_000 },
        { table: 'a_table_with_a_name_that_is_much_longer_than_any_column_for_it', rows: 500, bytes: 3_000 },
      ],
    },
    verdict: {
      equal: true,
      mode: 'full',
      at: at(60),
      ms: 300,
      rows: 1_500,
      tables: [{ table: 'users', rows: 1_000, equal: true }],
      mismatches: [],
      mismatchCount: 0,
      schema: [],
      schemaCount: 0,
      undecided: 0,
      quarantined: 0,
    },
    stages: [
      { percent: 10, startedAt: at(70), figures: gate, decision: { verdict: 'pass', reasons: ['good'] } },
    ],
    cutover: { outcome: 'moved', epoch: 2, pauseMs: 42, drained: 3 },
  };

  it('tells rows per table, time per phase, the verdict, the gates and the write pause', () => {
    const text = renderReport(report);
    expect(text).toMatch(/complete in 2m 05s/);
    expect(text).toMatch(/users +1,000 +6\.0 kB +✔/);
    for (const phase of report.phases) expect(text).toMatch(new RegExp(`${phaseName(phase.phase)} .* 10 s`));
    expect(text).toContain('every row agrees · 1,500 rows compared in full');
    expect(text).toContain('reads 10 %');
    expect(text).toContain('writes paused for 42 ms · 3 changes drained');
    expect(text.replaceAll(/[│\s]+/g, '')).toContain(report.backup!.path);
  });

  it.each([40, 80, 120])('stays within a width of %d', (width) => {
    const cells = Math.min(100, Math.max(60, width));
    for (const line of renderReport(report, width).split('\n')) expect([...line].length).toBe(cells);
  });

  it('tells blockers of a refused plan, and differences', () => {
    const blocker = { code: 'no-key', table: 'log', message: 'table "log" has no key' };
    const refused = renderReport({
      ...report,
      outcome: 'refused',
      plan: { ...report.plan, blockers: [blocker], blockerCount: 12 },
    });
    expect(refused).toContain('table "log" has no key');
    expect(refused).toContain('… and 11 more');
    const mismatch = {
      table: 'users',
      key: '7',
      kind: 'different' as const,
      column: 'name',
      primary: 'a',
      secondary: 'b',
    };
    const verdict = { ...report.verdict!, equal: false, mismatches: [mismatch], mismatchCount: 30 };
    expect(renderReport({ ...report, verdict })).toContain('30 differences');
    const text = renderVerdict(verdict, 100);
    expect(text).toContain('users 7 differs, column name: a on the primary, b on the secondary');
    expect(text).toContain('… and 29 more');
    expect(text.split('\n').at(-1)).toContain('30 differences in 1,500 rows');
  });
});

describe('createView', () => {
  function terminal(isTTY: boolean): {
    written: string[];
    write(text: string): void;
    isTTY: boolean;
    columns: number;
  } {
    const written: string[] = [];
    return { written, write: (text) => void written.push(text), isTTY, columns: 80 };
  }

  it.each([
    ['--plain was given', true, {}, true],
    ['there is no terminal', false, {}, false],
    ['CI is set', true, { CI: 'true' }, false],
    ['the terminal is dumb', true, { TERM: 'dumb' }, false],
  ])('prints lines where %s', async (_why, isTTY, env, lines) => {
    const out = terminal(isTTY);
    const view = await createView(out, env, lines);
    view.show(snapshot('copy'));
    view.end();
    expect(out.written.length).toBeGreaterThan(0);
    for (const text of out.written) {
      expect(text).toMatch(/^\[ *[\d.hms ]+\] [^\n]+\n$/);
      expect(text).not.toContain('\u001b');
    }
  });

  it('redraws a screen on a terminal, and leaves the last one standing', async () => {
    const out = terminal(true);
    const view = await createView(out, { NO_COLOR: '1' }, false);
    view.show(snapshot('copy'));
    view.show(snapshot('verify'));
    view.end();
    const text = out.written.join('');
    expect(text).toContain('╭─ crossfade shop → pg');
    expect(text).toContain('\u001b[');
  });
});

describe('format', () => {
  it('obeys NO_COLOR and FORCE_COLOR', () => {
    expect(paintFor({ isTTY: true }, {})).toBe(coloured);
    expect(paintFor({ isTTY: true }, { NO_COLOR: '1' })).toBe(plain);
    expect(paintFor({ isTTY: true }, { NO_COLOR: '1', FORCE_COLOR: '1' })).toBe(plain);
    expect(paintFor({}, {})).toBe(plain);
    expect(paintFor({}, { FORCE_COLOR: '1' })).toBe(coloured);
  });

  it.each([
    [0, '0.00 s'],
    [999, '1.0 s'],
    [9_940, '9.9 s'],
    [12_300, '12 s'],
    [59_600, '60 s'],
    [61_000, '1m 01s'],
    [3_661_000, '1h 01m'],
    [-5, '0.00 s'],
  ])('shows %d ms as %s', (ms, text) => expect(duration(ms)).toBe(text));

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_500, '1.5 kB'],
    [143_000_000, '143 MB'],
    [999_600, '1.0 MB'],
    [5e15, '5000 TB'],
  ])('shows %d bytes as %s', (size, text) => expect(bytes(size)).toBe(text));

  it('draws bars of exactly their width', () => {
    for (let share = -0.1; share <= 1.1; share += 0.013) expect([...bar(share, 17)]).toHaveLength(17);
    expect(bar(0, 4)).toBe('░░░░');
    expect(bar(1, 4)).toBe('████');
  });

  it('fits, wraps and counts', () => {
    expect(fit('abcdef', 4)).toBe('abc…');
    expect(fit('ab', 4)).toBe('ab  ');
    expect(visibleLength(coloured('red', 'abc'))).toBe(3);
    expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
    expect(wrap('x'.repeat(10), 4)).toEqual(['xxxx', 'xxxx', 'xx']);
    expect(wrap('', 4)).toEqual(['']);
    expect(count(1_234_567)).toBe('1,234,567');
  });
});
