import { spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { budgetJournal } from '../../../src/engine/server/budget-journal.js';
import type { BudgetSums } from '../../../src/engine/server/options.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';
import { TSX } from '../../helpers/processes.js';
import { reply, useUpstream } from '../../helpers/scripted-upstream.js';

const DAY = '2030-01-15';
const use = (inputTokens: number, outputTokens: number, more: Partial<BudgetSums> = {}): BudgetSums => {
  return { inputTokens, outputTokens, money: 0, heldTokens: 0, heldMoney: 0, ...more };
};

/** A folder, the path of the sums in it, and that of the day's journal. */
function place(): { dir: string; path: string; log: string } {
  const dir = temporaryDir();
  return { dir, path: join(dir, 'budget-0.json'), log: join(dir, `budget-0.${DAY}.log`) };
}

describe('a budget’s journal', () => {
  it('adds up what several have added, each seeing the others', () => {
    const { path } = place();
    const [a, b] = [budgetJournal(path), budgetJournal(path)];
    expect(a.sums(DAY)).toEqual(use(0, 0));
    expect(a.add(DAY, use(1, 2, { money: 0.5 }))).toEqual(use(1, 2, { money: 0.5 }));
    expect(b.add(DAY, use(0, 0, { heldTokens: 30, heldMoney: 0.25 }))).toEqual(
      use(1, 2, { money: 0.5, heldTokens: 30, heldMoney: 0.25 }),
    );
    expect(b.add(DAY, use(10, 5, { heldTokens: -30, heldMoney: -0.25 }))).toEqual(use(11, 7, { money: 0.5 }));
    expect(a.sums(DAY)).toEqual(use(11, 7, { money: 0.5 }));
    expect(a.sums('2030-01-16')).toEqual(use(0, 0));
  });

  it('goes by no file whose name is a day that the calendar has not', () => {
    const { dir, path } = place();
    for (const day of ['9999-99-99', '2030-02-30']) writeFileSync(join(dir, `budget-0.${day}.log`), '');
    const journal = budgetJournal(path);
    expect(journal.dayFrom(DAY)).toBe(DAY);
    expect(journal.add(DAY, use(1, 2))).toEqual(use(1, 2));
    writeFileSync(path, JSON.stringify({ day: '9999-99-99', inputTokens: 0, outputTokens: 0, money: 0 }));
    expect(errorOf(() => budgetJournal(path).dayFrom(DAY)).code).toBe('config-invalid');
  });

  it('shows the sums as a JSON document of one length', () => {
    const { path } = place();
    const lengths = [1, 100_000].map((tokens) => {
      budgetJournal(path).add(DAY, use(tokens, 0));
      return readFileSync(path).length;
    });
    expect(lengths[1]).toBe(lengths[0]);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({
      day: DAY,
      inputTokens: 100_001,
      outputTokens: 0,
      money: 0,
    });
  });

  it('goes on with what an earlier version kept, or where its journal was removed', () => {
    const { path, log } = place();
    writeFileSync(path, JSON.stringify({ day: DAY, inputTokens: 7, outputTokens: 1, money: 2 }));
    const running = budgetJournal(path);
    expect(running.dayFrom('2030-01-14')).toBe(DAY);
    expect(running.sums(DAY)).toEqual(use(7, 1, { money: 2 }));
    running.add(DAY, use(1, 0));
    rmSync(log);
    expect(budgetJournal(path).sums(DAY)).toEqual(use(8, 1, { money: 2 }));
    running.add(DAY, use(1, 0)); // finds the new one
    expect(budgetJournal(path).sums(DAY)).toEqual(use(9, 1, { money: 2 }));
    rmSync(log);
    rmSync(path);
    expect(budgetJournal(path).sums(DAY)).toEqual(use(0, 0));
  });

  it('keeps the day before, for a clock that is behind, and no older one', () => {
    const { dir, path } = place();
    const days = ['2030-01-13', '2030-01-14', DAY];
    for (const day of days) budgetJournal(path).add(day, use(1, 0));
    expect(readdirSync(dir)).toEqual(['budget-0.2030-01-14.log', `budget-0.${DAY}.log`, 'budget-0.json']);
  });

  it('takes a line that a full disk cut short for none, and those behind it for what they are', () => {
    const { path, log } = place();
    const journal = budgetJournal(path);
    journal.add(DAY, use(1, 0));
    appendFileSync(log, '\n{"id":"ab.1","inputTok');
    journal.add(DAY, use(2, 0));
    appendFileSync(log, '\n{"i');
    expect(journal.add(DAY, use(4, 0)).inputTokens).toBe(7);
    expect(budgetJournal(path).sums(DAY).inputTokens).toBe(7);
  });

  it.each(['hello', '{"id":"a","inputTokens":"5"}', '{"id":"a","money":null}', '[]', '{}', '\0\0\0\0', '{"id":"a"}}'])(
    'with the line %j is refused at the start, not forgotten, and counted on with in a server that runs',
    (line) => {
      const { path, log } = place();
      const running = budgetJournal(path);
      running.add(DAY, use(1, 0));
      appendFileSync(log, `\n${line}\n`);
      budgetJournal(path).add(DAY, use(1, 0)); // behind it
      const error = errorOf(() => running.sums(DAY));
      expect(error.code).toBe('config-invalid');
      expect(error.message).toContain(log);
      expect(error.hint).toContain('remove the files');
      expect(running.sums(DAY).inputTokens).toBe(2);
      expect(errorOf(() => budgetJournal(path).sums(DAY)).code).toBe('config-invalid');
    },
  );

  it.each(['{}', `{"day":"today","inputTokens":1,"outputTokens":2,"money":0}`, '{"day":', 'null', ''])(
    'beside sums that are %j is refused',
    (text) => {
      const { path } = place();
      writeFileSync(path, text);
      expect(errorOf(() => budgetJournal(path).dayFrom(DAY)).code).toMatch(/config-invalid|json-invalid/);
    },
  );

  it('that was cut keeps what was known', () => {
    const { path, log } = place();
    const journal = budgetJournal(path);
    journal.add(DAY, use(5, 0));
    truncateSync(log, 0);
    expect(errorOf(() => journal.sums(DAY)).code).toBe('file-unreadable');
    expect(journal.add(DAY, use(1, 0)).inputTokens).toBe(6);
  });

  it('that cannot be made is refused at the start', () => {
    const { dir, path, log } = place();
    mkdirSync(log);
    expect(errorOf(() => budgetJournal(path).sums(DAY)).code).toBe('write-failed');
    expect(existsSync(join(dir, 'budget-0.json'))).toBe(false);
  });
});

/** A server's part of it: `count` requests, six at a time, with 13 tokens each; it ends itself with SIGKILL when they are answered. */
function serverProcess(baseUrl: string, path: string, count: number, tokensPerDay: number | null) {
  const url = (file: string) => JSON.stringify(new URL(`../../../${file}`, import.meta.url).href);
  const code = `
    const { openOpenAiEngine } = await import(${url('src/engine/server/engine.ts')});
    const { budgetJournal } = await import(${url('src/engine/server/budget-journal.ts')});
    const { generateRequest, collect } = await import(${url('test/helpers/generate.ts')});
    const engine = openOpenAiEngine({
      baseUrl: ${JSON.stringify(baseUrl)}, model: 'big', retries: 0, budget: { tokensPerDay: ${tokensPerDay} },
      budgetStore: budgetJournal(${JSON.stringify(path)}),
      clock: { now: () => Date.UTC(2030, 0, 15, 12), timer: (ms, f) => { const t = setTimeout(f, ms); return () => clearTimeout(t); } },
    });
    let left = ${count};
    let refused = 0;
    await Promise.all(Array.from({ length: 6 }, async () => {
      while (left-- > 0) {
        const { error } = await collect(engine.generate(generateRequest({ maxTokens: 10 })));
        if (error?.code === 'server-budget') refused++;
        else if (error) throw error;
      }
    }));
    process.stdout.write(String(refused), () => process.kill(process.pid, 'SIGKILL'));`;
  const args = ['--import', TSX, '--input-type=module', '-e', code];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise<number>((resolve, reject) => {
    let said = '';
    child.stdout.on('data', (text) => {
      said += text;
    });
    child.on('close', (_, signal) =>
      signal === 'SIGKILL' ? resolve(Number(said)) : reject(new Error(`ended: ${said}`)),
    );
  });
}

describe('two servers with one budget', () => {
  const answer = reply.answer(['a'], { promptTokens: 10, completionTokens: 3 });

  it('add up exactly, killed as they are when the last answer has come', { tags: 'slow' }, async () => {
    const { path } = place();
    const { baseUrl } = await useUpstream(answer);
    await Promise.all([100, 100].map((count) => serverProcess(baseUrl, path, count, null)));
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({
      day: DAY,
      inputTokens: 2000,
      outputTokens: 600,
      money: 0,
    });
    await serverProcess(baseUrl, path, 5, null);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ inputTokens: 2050, outputTokens: 615 });
    expect(budgetJournal(path).sums(DAY)).toEqual(use(2050, 615));
  });

  it('let no more through together than it allows', { tags: 'slow' }, async () => {
    const { path } = place();
    const upstream = await useUpstream(answer);
    const refused = await Promise.all([100, 100].map((count) => serverProcess(upstream.baseUrl, path, count, 1000)));
    const { inputTokens, outputTokens, heldTokens } = budgetJournal(path).sums(DAY);
    expect(inputTokens + outputTokens).toBe(13 * upstream.requests.length);
    expect(inputTokens + outputTokens).toBeLessThanOrEqual(1000);
    expect(inputTokens + outputTokens).toBeGreaterThan(900);
    expect(heldTokens).toBe(0);
    expect(refused[0]! + refused[1]!).toBe(200 - upstream.requests.length);
  });
});
