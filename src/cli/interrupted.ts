/** Exit status after Ctrl-C, as shells have it: 128 + SIGINT. */
export const INTERRUPTED = 130;
