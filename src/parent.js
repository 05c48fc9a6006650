// @ts-check
/**
 * The end of the process that has started this one with a channel, kill -9 included. Plain JavaScript, so that it runs
 * from sources and from dist.
 */

/**
 * Calls `then` when that process is gone, also where it was gone before this was asked: the event is not repeated for
 * one who begins to listen late, which every module does that loads others first.
 * @param {() => void} then
 */
export function onParentGone(then) {
  // Undefined where there never was a channel.
  if (process.connected === false) then();
  else process.once('disconnect', then);
}
