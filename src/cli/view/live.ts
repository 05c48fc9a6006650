/** Puts snapshots on a terminal: a screen that redraws itself, or lines. */
import { paintFor, widthOf } from './format.ts';
import { PlainPrinter } from './plain-printer.ts';
import { renderScreen } from './screen.ts';
import type { Snapshot } from './snapshot.ts';

export interface Terminal {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

export interface View {
  show(snapshot: Snapshot): void;
  /** Leaves the last screen standing; what is written from here on comes below it. */
  end(): void;
}

/** @param lines print lines even on a terminal */
export async function createView(terminal: Terminal, env: NodeJS.ProcessEnv, lines: boolean): Promise<View> {
  if (lines || terminal.isTTY !== true || env['TERM'] === 'dumb' || isCi(env)) {
    const printer = new PlainPrinter((line) => terminal.write(`${line}\n`));
    return { show: (snapshot) => printer.print(snapshot), end: () => undefined };
  }
  const { createLogUpdate } = await import('log-update');
  const screen = createLogUpdate(terminal as NodeJS.WriteStream);
  const paint = paintFor(terminal, env);
  return {
    show: (snapshot) => screen(renderScreen(snapshot, widthOf(terminal), paint)),
    end: () => screen.done(),
  };
}

function isCi(env: NodeJS.ProcessEnv): boolean {
  const ci = env['CI'];
  return ci !== undefined && ci !== '' && ci !== 'false' && ci !== '0';
}
