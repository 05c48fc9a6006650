/** The status as Markdown, for the Temporal UI. Pure. */
import { PHASES, type GateFigures, type MigrationStatus, type Side } from './contract.ts';
import { verdictLine } from './verdict-text.ts';

/** At most about 3 kB; the server refuses more than 20 kB. */
export function statusMarkdown(status: MigrationStatus): string {
  const lines = [
    `**${status.migration}** · ${status.outcome}${status.paused ? ' · paused' : ''} · primary: ${status.primary}`,
    '',
  ];
  if (status.waitingFor !== undefined) lines.push(`> waiting for ${status.waitingFor}`, '');
  if (status.reason !== undefined) lines.push(`> ${status.reason}`, '');
  for (const phase of PHASES) {
    const record = status.phases.findLast((candidate) => candidate.phase === phase);
    const mark = record === undefined ? '○' : record.endedAt === undefined ? '▶' : '✓';
    lines.push(`- ${mark} ${phase}${detail(status, phase)}`);
  }
  if (status.rollback !== undefined) {
    lines.push(
      '',
      `Rolled back: ${status.rollback.reason}`,
      ...status.rollback.steps.map((step) => `- ${step}`),
    );
  }
  return lines.join('\n');
}

function detail(status: MigrationStatus, phase: string): string {
  switch (phase) {
    case 'plan':
      return status.plan === undefined
        ? ''
        : ` — ${status.plan.tables} tables, ${status.plan.rows} rows, ${status.plan.blockerCount} blockers, ${status.plan.noticeCount} notices`;
    case 'backup':
      return status.backup === undefined ? '' : ` — ${status.backup.path} (${status.backup.bytes} bytes)`;
    case 'copy':
      return status.copy === undefined
        ? ''
        : ` — ${status.copy.rows} rows in ${(status.copy.ms / 1000).toFixed(1)} s`;
    case 'indexes':
      return status.views === undefined || status.views.created + status.views.leftOutCount === 0
        ? ''
        : ` — ${status.views.created} views, ${status.views.leftOutCount} left out`;
    case 'verify':
      return status.verdict === undefined ? '' : ` — ${verdictLine(status.verdict)}`;
    case 'shift': {
      const stage = status.stages.at(-1);
      if (stage === undefined) return '';
      const decision =
        stage.decision === undefined
          ? ''
          : `: ${stage.decision.verdict}, ${stage.decision.reasons.join('; ')}`;
      return ` — ${status.readPercent} % of the reads${decision}${stage.figures === undefined ? '' : figures(stage.figures)}`;
    }
    case 'cutover':
      return status.cutover === undefined
        ? ''
        : ` — ${status.cutover.outcome}, writes paused ${status.cutover.pauseMs} ms`;
    default:
      return '';
  }
}

function figures({ reads, lagMs }: GateFigures): string {
  const p95 = (side: Side): string =>
    reads[side].count === 0 ? `no reads of the ${side}` : `${side} p95 ${reads[side].p95Ms.toFixed(1)} ms`;
  return ` (${p95('source')}, ${p95('target')}, lag ${lagMs} ms)`;
}
