#!/usr/bin/env node
import { main } from '../src/cli/main.js';

// Not process.exit: a pipe may still be taking what was written to it.
process.exitCode = await main(process.argv.slice(2));
