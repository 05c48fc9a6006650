/** What a command may touch of the process that runs it, so that tests can run commands too. */
import type { Terminal } from './view/live.ts';

export interface Io {
  env: NodeJS.ProcessEnv;
  stdout: Terminal;
  stderr: Terminal;
  /** Reads the whole of standard input. */
  readStdin(): Promise<string>;
  /** Calls `handler` on Ctrl-C and on a request to end, until the returned function is called. */
  onInterrupt(handler: () => void): () => void;
}

/** The real process. A second Ctrl-C ends it at once: embedded servers end with it. */
export function processIo(): Io {
  return {
    env: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
    async readStdin() {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString('utf8');
    },
    onInterrupt(handler) {
      let asked = false;
      const listener = (): void => {
        if (asked) process.exit(130);
        asked = true;
        handler();
      };
      process.on('SIGINT', listener);
      process.on('SIGTERM', listener);
      return () => {
        process.off('SIGINT', listener);
        process.off('SIGTERM', listener);
      };
    },
  };
}
