import { Figures } from '../demo/application/figures.ts';
import type { CheckResult } from '../demo/checker/check.ts';
import { Operator } from '../demo/operator.ts';
import { makeReport, renderDemoReport, type DemoReport, type ReportParts } from '../demo/report.ts';
import type { MigrationReport, MigrationStatus } from '../src/contract.ts';

const check: CheckResult = {
  database: 'PostgreSQL',
  tables: [{ table: 'users', rows: 1_234 }],
  rows: 1_234,
  leftOut: 0,
  acknowledged: 50,
  acknowledgedByTarget: 20,
  refused: 1,
  unknown: 0,
  writesLost: 0,
  targetWritesLost: 0,
  phantoms: 0,
  damaged: 0,
  contradictions: 0,
  credits: { expected: 7, actual: 7 },
  findings: [],
  agrees: true,
};

const migration: MigrationReport = {
  migration: 'm',
  outcome: 'complete',
  startedAt: '2026-01-01T00:00:00.000Z',
  endedAt: '2026-01-01T00:01:00.000Z',
  phases: [{ phase: 'copy', startedAt: '2026-01-01T00:00:00.000Z', ms: 1_500 }],
  plan: { tables: 1, rows: 1, bytes: 1, blockers: [], notices: [], blockerCount: 0, noticeCount: 0 },
  stages: [],
  cutover: { outcome: 'moved', epoch: 2, pauseMs: 120, drained: 3 },
};

function report(
  change: Partial<ReportParts> = {},
  options: Partial<ReportParts['options']> = {},
): DemoReport {
  const figures = { ...new Figures().take('target'), reads: 10_000, writes: 5_000 };
  return makeReport({
    options: {
      source: 'sqlite',
      users: 100,
      seed: 1,
      ops: 400,
      stageWaitMs: 1,
      soakMs: 1,
      plain: true,
      rollback: false,
      keep: false,
      ...options,
    },
    workflow: { id: 'w' },
    migration,
    holds: [],
    generatedRows: {},
    figures: { before: { ...figures, reads: 1_000 }, after: figures, last: figures },
    check,
    workerRestarts: 0,
    ...change,
  });
}

describe("the demo's report", () => {
  it('is good where nothing is lost, and says so in its last line', () => {
    const good = report();
    expect(good).toMatchObject({ ok: true, problems: [], writesLost: 0, durationMs: 60_000 });
    expect(good.application.readsDuringMigration).toBe(9_000);
    expect(good.pauses).toEqual([{ switch: 'cutover', workflowMs: 120, applicationMs: null }]);
    const lines = renderDemoReport(good).split('\n');
    expect(lines.at(-1)).toBe('OK: 0 writes lost, every row agrees');
    expect(lines.join('\n')).toMatch(/users +1,234 rows/);
  });

  it.each<[string, Partial<ReportParts>, RegExp]>([
    [
      'a lost write',
      { check: { ...check, writesLost: 1, agrees: false, findings: ['users 7: gone'] } },
      /1 writes lost/,
    ],
    ['another outcome', { migration: { ...migration, outcome: 'rolled back' } }, /instead of "complete"/],
    [
      'a difference in the source',
      { sourceCheck: { ...check, database: 'SQLite', damaged: 2, agrees: false } },
      /SQLite: .* 2 rows damaged/,
    ],
    [
      'a wrong answer',
      ((figures) => ({ figures: { before: figures, after: figures, last: figures } }))({
        ...new Figures().take('target'),
        reads: 100_000,
        errors: 1,
        wrongAnswers: 1,
        lastError: 'stale read',
      }),
      /stale read/,
    ],
  ])('is bad after %s', (_, change, problem) => {
    const bad = report(change);
    expect(bad.ok).toBe(false);
    expect(bad.problems.join('\n')).toMatch(problem);
    expect(renderDemoReport(bad)).toMatch(/\nNOT OK:\n/);
  });

  it('wants a rollback to bring something back', () => {
    const rolledBack: MigrationReport = {
      ...migration,
      outcome: 'rolled back',
      rollback: {
        reason: 'r',
        steps: [],
        writesBack: { outcome: 'moved', epoch: 3, pauseMs: 9, drained: 1 },
      },
    };
    const back = report(
      { migration: rolledBack, check: { ...check, database: 'SQLite' } },
      { rollback: true },
    );
    expect(back.ok).toBe(true);
    expect(renderDemoReport(back)).toMatch(/20 writes, 20 back in SQLite, 0 missing/);
    const idle = report(
      { migration: rolledBack, check: { ...check, acknowledgedByTarget: 0 } },
      { rollback: true },
    );
    expect(idle.problems).toHaveLength(1);
  });
});

describe("the demo's operator", () => {
  const waiting = (waitingFor?: string): MigrationStatus =>
    ({ ...(waitingFor === undefined ? {} : { waitingFor }) }) as MigrationStatus;

  it('approves each wait once, five in all, and then aborts', () => {
    const sent: string[] = [];
    const operator = new Operator(
      {
        approve: async () => void sent.push('approve'),
        abort: async () => void sent.push('abort'),
      },
      () => undefined,
    );
    for (let i = 0; i < 6; i++) {
      operator.look(undefined);
      operator.look(waiting());
      operator.look(waiting(`gate ${i}`));
      operator.look(waiting(`gate ${i}`));
    }
    expect(sent).toEqual(['approve', 'approve', 'approve', 'approve', 'approve', 'abort']);
    expect(operator.holds).toHaveLength(6);
  });

  it('tells of a signal that did not arrive', async () => {
    const said: string[] = [];
    const operator = new Operator(
      { approve: () => Promise.reject(new Error('no server')), abort: async () => undefined },
      (line) => said.push(line),
    );
    operator.look(waiting('gate'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(said).toEqual(['the signal did not arrive: no server']);
  });
});
