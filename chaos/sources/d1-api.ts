/** Makes the REST API fail: each fault waits for as many requests as it is for, in the order in which they were given. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault, FaultyProxy } from '../../cloudflare/faults.ts';
import type { SourceFault } from '../faults.ts';

export type ApiFault = Extract<
  SourceFault,
  { kind: 'd1-rate-limit' | 'd1-error' | 'd1-stall' | 'd1-lost-reply' | 'd1-late' }
>;

interface Armed {
  left: number;
  /** Is it for batches that change something, and not for any request? */
  changing: boolean;
  /** What is done to one request. @param left to how many more */
  make(left: number): Fault;
}

export class FailingApi {
  readonly #armed: Armed[] = [];

  constructor(proxy: FaultyProxy) {
    proxy.meant = (body) => {
      const armed = this.#armed.find(({ changing }) => !changing || isChange(body));
      if (armed === undefined) return false;
      if (--armed.left === 0) this.#armed.splice(this.#armed.indexOf(armed), 1);
      proxy.next.push(armed.make(armed.left));
      return true;
    };
  }

  arm(fault: ApiFault): void {
    const changing = 'changing' in fault && fault.changing;
    this.#armed.push({ left: fault.count, changing, make: (left) => faultOf(fault, left) });
  }
}

function faultOf(fault: ApiFault, left: number): Fault {
  switch (fault.kind) {
    case 'd1-rate-limit':
      return { status: 429, code: 10_429, message: 'too many requests', retryAfter: 1 };
    case 'd1-error':
      return { status: left % 2 === 0 ? 500 : 503, code: 7_500, message: 'internal error' };
    case 'd1-stall':
      return { before: () => sleep(fault.ms) };
    case 'd1-lost-reply':
      return 'lost-reply';
    case 'd1-late':
      return { late: sleep(fault.ms), done: () => undefined };
  }
}

function isChange(body: string): boolean {
  if (body === '') return false;
  const { batch = [] } = JSON.parse(body) as { batch?: { sql: string }[] };
  return batch.some(({ sql }) => !/^\s*(?:SELECT|WITH|PRAGMA)\b/i.test(sql));
}
