/** Timers of the background: those of Node keep a process alive unless told otherwise, those of Workers are numbers and never do. */
export type Timer = ReturnType<typeof setTimeout>;

export function unreferenced(timer: Timer): Timer {
  (timer as { unref?: () => void }).unref?.();
  return timer;
}
