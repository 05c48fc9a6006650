/** What of a plan travels through Temporal. */
import type { Finding, Plan, PlanSummary } from '../contract.ts';

const FIRST = 10;
/** Characters of a finding's message; the whole one is in the plan. */
const MESSAGE = 1_000;

/** Bounded, however many findings there are and whatever they quote. */
export function summarise(plan: Plan): PlanSummary {
  return {
    tables: plan.tables.length,
    rows: plan.tables.reduce((sum, table) => sum + table.rows, 0),
    bytes: plan.sourceBytes,
    blockers: plan.blockers.slice(0, FIRST).map(shortened),
    notices: plan.notices.slice(0, FIRST).map(shortened),
    blockerCount: plan.blockers.length,
    noticeCount: plan.notices.length,
  };
}

function shortened(finding: Finding): Finding {
  const { message } = finding;
  return message.length <= MESSAGE ? finding : { ...finding, message: `${message.slice(0, MESSAGE - 1)}…` };
}
