/** The application process as the conductor sees it: its latest figures, and waiting for what it reports. */
import { labelled } from '../src/cli/view/box.ts';
import { count, counted, latency, plain } from '../src/cli/view/format.ts';
import type { Side } from '../src/contract.ts';
import { Child, type ChildModule } from './child.ts';
import type { ApplicationFigures } from './application/figures.ts';
import type { FromApplication } from './messages.ts';
import type { SourceName } from './sources/source.ts';

export interface TrafficOptions {
  module: ChildModule;
  source: SourceName;
  journal: string;
  logFile: string;
  env: NodeJS.ProcessEnv;
  operationsPerSecond: number;
  seed: number;
}

/** Lanes work at the same time; each waits for its own answers, so that a slow database needs more of them. */
const LANES = 24;

export class Traffic {
  readonly #child: Child<FromApplication>;
  /** What the primaries are called. */
  readonly #names: Record<Side, string>;
  readonly #waiting = new Set<() => void>();
  #latest: ApplicationFigures | undefined;
  #ready = false;
  #finished = false;
  #ended: string | undefined;

  constructor(options: TrafficOptions) {
    this.#names = { source: options.source, target: 'PostgreSQL' };
    this.#child = new Child({
      module: options.module,
      args: [
        ...['--journal', options.journal, '--ops', String(options.operationsPerSecond)],
        ...['--lanes', String(LANES), '--seed', String(options.seed)],
      ],
      env: options.env,
      logFile: options.logFile,
      onMessage: (message) => {
        if (message.type === 'ready') this.#ready = true;
        else this.#latest = message.figures;
        if (message.type === 'stopped') this.#finished = true;
        this.#wake();
      },
    });
    void this.#child.ended.then((how) => {
      this.#ended = how;
      this.#wake();
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Rejects when the application ends although nobody asked it to. */
  get failed(): Promise<never> {
    return this.#child.ended.then((how) => {
      throw this.#gone(how);
    });
  }

  /** The last figures that arrived, at most about half a second old. @throws Error before the first */
  get figures(): ApplicationFigures {
    if (this.#latest === undefined) throw new Error('the application has not reported yet');
    return this.#latest;
  }

  /** Resolves when it serves and has reported once. */
  async started(): Promise<void> {
    await this.until(() => this.#ready);
  }

  /** Resolves once the figures satisfy the condition. @throws Error where the application has ended */
  async until(condition: (figures: ApplicationFigures) => boolean): Promise<void> {
    for (;;) {
      if (this.#latest !== undefined && condition(this.#latest)) return;
      if (this.#ended !== undefined) throw this.#gone(this.#ended);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** Lets it finish what is under way, for `graceMs` at most. */
  async stop(graceMs: number): Promise<void> {
    await this.#child.end(graceMs);
  }

  /** As `stop`; resolves with its last figures. @throws Error where it did not come to its end */
  async finish(graceMs: number): Promise<ApplicationFigures> {
    await this.stop(graceMs);
    if (!this.#finished) throw this.#gone(this.#ended ?? 'it did not stop');
    return this.figures;
  }

  /** Resolves with the next report. @throws Error where the application has ended */
  async nextFigures(): Promise<void> {
    const before = this.#latest;
    await this.until((figures) => figures !== before);
  }

  /** What the screen shows of it. */
  lines(): string[] {
    const figures = this.#latest;
    if (figures === undefined) return [labelled('application', 'starting', plain)];
    const { readsPerSecond, writesPerSecond, p50Ms, p95Ms, errors, staleReads, lastError } = figures;
    const lines = [
      labelled(
        'application',
        `${count(readsPerSecond)} reads/s · ${count(writesPerSecond)} writes/s on ${this.#names[figures.primary]}`,
        plain,
      ),
      labelled(
        '',
        `p50 ${latency(p50Ms)} · p95 ${latency(p95Ms)} · longest write pause ${count(figures.longestPauseMs)} ms`,
        plain,
      ),
      labelled(
        'journal',
        `${counted(figures.writes, 'write')} acknowledged · ${counted(errors, 'error')} · ${counted(staleReads, 'stale read')}`,
        plain,
      ),
    ];
    const alerts = Object.entries(figures.alerts).map(([name, times]) => `${name} × ${count(times)}`);
    if (alerts.length > 0) lines.push(labelled('alerts', alerts.join(', '), plain));
    if (lastError !== null) lines.push(labelled('last error', lastError, plain));
    return lines;
  }

  /** The same in one line. */
  summary(): string {
    const figures = this.#latest;
    if (figures === undefined) return 'application starting';
    return (
      `application ${count(figures.readsPerSecond)} reads/s, ${count(figures.writesPerSecond)} writes/s on ` +
      `${this.#names[figures.primary]}, p95 ${latency(figures.p95Ms)}, ${counted(figures.errors, 'error')}`
    );
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #gone(how: string): Error {
    return new Error(
      `the application ended by itself (${how}); it last printed:\n${this.#child.lastLines(10).join('\n')}`,
    );
  }
}
