/** Loaded into a process of a run: it does not outlive the one that started it, however that ended. */
import { onParentGone } from '../src/parent.js';

onParentGone(() => process.kill(process.pid, 'SIGKILL'));
// The listener alone would keep a process that has done its work.
process.channel?.unref();
