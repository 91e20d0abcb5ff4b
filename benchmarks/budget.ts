/**
 * What the day's budget costs a request: `npx tsx benchmarks/budget.ts`. Each request holds back its tokens and settles them; in memory,
 * in the journal alone, and in the journal while another process adds to it as fast as it can. Medians and 99th percentiles, in turn.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quantile } from '../src/core/stats.js';
import { budgetJournal } from '../src/engine/server/budget-journal.js';
import { openBudget } from '../src/engine/server/limits.js';
import { resolveOptions } from '../src/engine/server/options.js';

const REQUESTS = 2_000;

function budgetOf(path: string | null) {
  const settings = resolveOptions({
    baseUrl: 'http://127.0.0.1:1/v1',
    model: 'm',
    prices: { inputPerMillion: 1, outputPerMillion: 2, currency: 'EUR' },
    budget: { tokensPerDay: 10 ** 12, moneyPerDay: 10 ** 9 },
    budgetStore: path === null ? null : budgetJournal(path),
  });
  return openBudget({ settings, server: 'm', quote: String, failure: (code) => new Error(code) as never });
}

function request(budget: ReturnType<typeof openBudget>): number {
  const started = performance.now();
  budget.reserve(100, 200)({ promptTokens: 90, completionTokens: 50, cachedTokens: 0 });
  return (performance.now() - started) * 1000;
}

const dir = mkdtempSync(join(tmpdir(), 'crayon-budget-'));
const path = join(dir, 'budget-0.json');
if (process.argv[2] !== undefined) {
  const other = budgetOf(process.argv[2]);
  for (const end = Date.now() + 60_000; Date.now() < end; ) request(other);
  process.exit();
}
const measured: Record<string, number[]> = { 'in memory': [], journal: [], 'journal, shared': [] };
const [memory, journal] = [budgetOf(null), budgetOf(path)];
for (let i = 0; i < REQUESTS; i++) {
  measured['in memory']!.push(request(memory));
  measured.journal!.push(request(journal));
}
const other = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), path], {
  stdio: 'inherit',
});
await new Promise((resolve) => setTimeout(resolve, 2_000));
for (let i = 0; i < REQUESTS; i++) {
  measured['journal, shared']!.push(request(journal));
  await new Promise((resolve) => setTimeout(resolve, 1));
}
other.kill('SIGKILL');
for (const [name, times] of Object.entries(measured)) {
  const [half, most] = [0.5, 0.99].map((share) =>
    quantile(
      times.sort((a, b) => a - b),
      share,
    )
      .toFixed(0)
      .padStart(6),
  );
  console.log(`${name.padEnd(16)} median ${half} us, 99 % within ${most} us`);
}
rmSync(dir, { recursive: true });
