/** A SQLite file. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { createDatabase } from '../application/database.ts';
import type { SourceKind } from './source.ts';

const BUSY_TIMEOUT_MS = 10_000;

export const sqlite: SourceKind = {
  applications: ['router', 'router', 'foreign'],
  ballast: (random) => 2_000 + random.below(20_000),
  maxPauseMs: 5_000,

  async create({ folder, ballast }) {
    const file = join(folder, 'source.sqlite');
    const baseline = join(folder, 'baseline.sqlite');
    createDatabase(file, ballast);
    copyFileSync(file, baseline);
    const env = { SOURCE_URL: `sqlite:${file}` };
    return {
      file,
      baseline,
      workerEnv: env,
      applicationEnv: env,
      write: async (statements) => writeTo(file, statements),
      inject: async (fault) => {
        if (fault.kind === 'lock-source') await lock(file, fault.ms);
      },
      settled: async () => undefined,
      stop: async () => undefined,
    };
  },
};

export function writeTo(file: string, statements: string[]): void {
  const db = new Database(file, { timeout: BUSY_TIMEOUT_MS });
  try {
    db.pragma('foreign_keys = OFF');
    db.transaction(() => {
      for (const sql of statements) db.exec(sql);
    }).immediate();
  } finally {
    db.close();
  }
}

async function lock(file: string, ms: number): Promise<void> {
  const db = new Database(file, { timeout: BUSY_TIMEOUT_MS });
  try {
    db.exec('BEGIN IMMEDIATE');
    await sleep(ms);
    db.exec('COMMIT');
  } finally {
    db.close();
  }
}
