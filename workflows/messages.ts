/** The messages that `migrateDatabase` understands, for the workflow and for every client. */
import { defineQuery, defineSignal } from '@temporalio/workflow';
import type { MigrationStatus } from '../src/contract.ts';

/** Stops at the next safe place; the application and its databases go on. */
export const pauseSignal = defineSignal('pause');
export const resumeSignal = defineSignal('resume');
/** Lets a stage or the cutover go ahead that waits for a person. */
export const approveSignal = defineSignal('approve');
/** Rolls everything back and ends the workflow. */
export const abortSignal = defineSignal<[reason?: string]>('abort');
export const statusQuery = defineQuery<MigrationStatus>('status');
