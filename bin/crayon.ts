#!/usr/bin/env node
import { main } from '../src/cli/main.js';
import { EXIT } from '../src/core/errors.js';

process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
  if (code === 'EPIPE') return; // a reader such as `head` has seen enough
  process.stderr.write(`Error: stdout cannot be written (${code}) [write-failed]\n`);
  process.exitCode = EXIT.environment;
});
process.stderr.on('error', () => {}); // nobody is left to be told

// Not process.exit: a pipe may still be taking what was written to it.
const exitCode = await main(process.argv.slice(2));
process.exitCode ??= exitCode;
