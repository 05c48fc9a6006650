#!/usr/bin/env node
/** The command `crossfade`. */
import { processIo } from './io.ts';
import { main } from './program.ts';

process.exitCode = await main(process.argv.slice(2), processIo());

// What an interrupted command had begun may still hold the process; embedded servers end with it.
setTimeout(() => process.exit(), 3_000).unref();
