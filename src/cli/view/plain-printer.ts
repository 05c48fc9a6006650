/** The run as lines, for logs and pipes: one when something changes, and one every few seconds otherwise. */
import type { MigrationStatus } from '../../contract.ts';
import { bytes, count, duration, percent } from './format.ts';
import { asideText, retryText, rollbackText, unansweredText } from './notes.ts';
import { phaseName } from './phases.ts';
import { progressOf, type Snapshot } from './snapshot.ts';

export class PlainPrinter {
  readonly #write: (line: string) => void;
  readonly #everyMs: number;
  #startedAt: number | undefined;
  #printedAt = 0;
  /** What was last printed of each subject. */
  readonly #said = new Map<string, string>();

  /** @param everyMs the longest silence while something is under way */
  constructor(write: (line: string) => void, everyMs = 5_000) {
    this.#write = write;
    this.#everyMs = everyMs;
  }

  print(snapshot: Snapshot): void {
    const { status, now } = snapshot;
    const first = status?.phases[0]?.startedAt;
    this.#startedAt ??= first === undefined ? now : Date.parse(first);
    if (snapshot.uiUrl !== undefined)
      this.#once(now, 'url', `workflow ${snapshot.workflowId}: ${snapshot.uiUrl}`);
    if (snapshot.unanswered) this.#once(now, 'worker', unansweredText(snapshot));
    else this.#said.delete('worker');
    for (const one of snapshot.retrying) this.#once(now, `retry ${one.activity}`, retryText(one));
    this.#setAside(snapshot);
    if (status === undefined) return;
    this.#changes(status, now);
    // Nothing moves while a person is waited for.
    const silence = status.paused || status.waitingFor !== undefined ? this.#everyMs * 60 : this.#everyMs;
    if (now - this.#printedAt >= silence && status.outcome === 'running')
      this.#line(now, progressText(snapshot));
  }

  #setAside(snapshot: Snapshot): void {
    const replay = progressOf(snapshot, 'replay');
    if (replay === undefined) return;
    if (replay.quarantined === 0 && !this.#said.has('quarantine')) return;
    const rows = (replay.quarantine ?? []).map((row) => `; ${row}`).join('');
    const text =
      replay.quarantined === 0
        ? 'no row is set aside any more'
        : `${asideText(replay.quarantined, snapshot)}${rows}`;
    this.#once(snapshot.now, 'quarantine', text);
  }

  #changes(status: MigrationStatus, now: number): void {
    for (const { phase, startedAt, endedAt } of status.phases) {
      if (endedAt === undefined) {
        this.#once(now, `phase ${phase}`, `${phaseName(phase)} …`);
      } else {
        const took = duration(Date.parse(endedAt) - Date.parse(startedAt));
        this.#once(now, `phase ${phase}`, `${phaseName(phase)}: done in ${took}`);
      }
    }
    for (const [index, { percent: share, decision }] of status.stages.entries()) {
      if (decision === undefined) continue;
      this.#once(
        now,
        `stage ${index}`,
        `gate at ${share} %: ${decision.verdict}: ${decision.reasons.join('; ')}`,
      );
    }
    if (status.readPercent > 0 || this.#said.has('reads')) {
      this.#once(now, 'reads', `${status.readPercent} % of reads on PostgreSQL`);
    }
    if (status.paused || this.#said.has('paused'))
      this.#once(now, 'paused', status.paused ? 'paused' : 'resumed');
    if (status.waitingFor !== undefined) this.#once(now, 'waiting', `waiting for ${status.waitingFor}`);
    else this.#said.delete('waiting');
    if (status.rollback !== undefined) {
      this.#once(now, 'rollback', rollbackText(true, status.rollback.reason));
      status.rollback.steps.forEach((step, index) => this.#once(now, `step ${index}`, `  ${step}`));
      // What stands in its way, until it does no more.
      const { reason } = status;
      if (reason === undefined) this.#said.delete('obstacle');
      else if (reason !== status.rollback.reason) this.#once(now, 'obstacle', `  ${reason}`);
    }
  }

  #once(now: number, subject: string, text: string): void {
    if (this.#said.get(subject) === text) return;
    this.#said.set(subject, text);
    this.#line(now, text);
  }

  #line(now: number, text: string): void {
    this.#printedAt = now;
    this.#write(`[${duration(now - (this.#startedAt ?? now)).padStart(7)}] ${text}`);
  }
}

/** Where the run stands, in one line. */
function progressText(snapshot: Snapshot): string {
  const status = snapshot.status!;
  const parts = [phaseName(status.phase)];
  const copy = progressOf(snapshot, 'copy');
  const verify = progressOf(snapshot, 'verify');
  const replay = progressOf(snapshot, 'replay');
  if (copy !== undefined && status.phase === 'copy') {
    const share = copy.rowsTotal > 0 ? copy.rows / copy.rowsTotal : 0;
    parts.push(percent(share), `${count(copy.rows)} of ${count(copy.rowsTotal)} rows`, bytes(copy.bytes));
    parts.push(`${count(copy.rowsPerSecond)} rows/s`);
    if (copy.rowsPerSecond > 0) {
      parts.push(`${duration(((copy.rowsTotal - copy.rows) / copy.rowsPerSecond) * 1_000)} left`);
    }
  }
  if (verify !== undefined && status.phase === 'verify') {
    parts.push(`${count(verify.rows)} of ${count(verify.rowsTotal)} rows compared`);
  }
  const lagMs = replay?.lagMs ?? snapshot.lagMs;
  if (lagMs !== undefined) parts.push(`lag ${duration(lagMs)}`);
  if (status.readPercent > 0) parts.push(`${status.readPercent} % of reads on PostgreSQL`);
  const { traffic } = snapshot;
  if (traffic !== undefined && traffic.routers > 0) {
    const all = [traffic.reads.source, traffic.reads.target, traffic.writes.source, traffic.writes.target];
    const operations = all.reduce((sum, one) => sum + one.count, 0);
    const errors = all.reduce((sum, one) => sum + one.errors, 0);
    parts.push(
      `${count((operations / Math.max(1, traffic.windowMs)) * 1_000)} ops/s`,
      `${count(errors)} errors`,
    );
  }
  return [...parts, ...(snapshot.extra ?? [])].join(' · ');
}
