/** Runs command lines in the test's own process. */
import { main } from '../../src/cli/program.ts';
import type { Io } from '../../src/cli/io.ts';

export interface Result {
  status: number;
  out: string;
  err: string;
}

/** @param env the whole environment of the command */
export async function runCommand(argv: string[], env: NodeJS.ProcessEnv, stdin = ''): Promise<Result> {
  const result = { status: -1, out: '', err: '' };
  const io: Io = {
    env,
    stdout: { write: (text) => (result.out += text), columns: 80 },
    stderr: { write: (text) => (result.err += text) },
    readStdin: () => Promise.resolve(stdin),
    onInterrupt: () => () => undefined,
  };
  result.status = await main(argv, io);
  return result;
}
