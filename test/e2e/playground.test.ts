/** The playground in a real browser, Debian's chromium where there is one: on the embedded model with a scripted server LLM, and with a key. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listen } from '../../src/serve/http/listen.js';
import { bundledPage } from '../../src/serve/playground/bundle.js';
import { findChromium } from '../helpers/chromium.js';
import { reply, startUpstream, type Upstream } from '../helpers/scripted-upstream.js';
import { closing, gate, testApp } from '../serve/helpers.js';
import { addressOf, type Child, ROOT, scratch, start } from './helpers.js';

const EXAMPLES = join(ROOT, 'suite', 'examples', 'bank.jsonl');
const [FIRST] = readFileSync(EXAMPLES, 'utf8').split('\n');
const { prompt: INSIDE } = JSON.parse(FIRST!) as { prompt: string };
const OUTSIDE = 'Der Mond ist aufgegangen, die goldnen Sternlein prangen';
/** A page is slow on a machine that builds and trains beside it. */
const PATIENCE = 60_000;

const executablePath = findChromium();
const dir = scratch();
let browser: Browser;
let upstream: Upstream;
let server: Child;
let url: string;

/** What the page said on its console, and whom it asked. */
interface Watched {
  page: Page;
  said: string[];
  asked: string[];
}

async function visit(address: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = closing(await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options }), (one) =>
    one.close(),
  );
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const said: string[] = [];
  const asked: string[] = [];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(error.message));
  page.on('request', (request) => asked.push(request.url()));
  await page.goto(address);
  return { page, said, asked };
}

const message = (page: Page) => page.getByRole('textbox', { name: 'Message' });
const answers = (page: Page) => page.getByRole('article');

/** Asks, and waits until the answer is whole. */
async function ask(page: Page, text: string) {
  await message(page).fill(text);
  await message(page).press('Enter');
  const answer = answers(page).last();
  await answer.and(page.locator('[aria-busy=false]')).waitFor();
  await page.getByRole('button', { name: 'Send' }).waitFor();
  return answer;
}

const users = async (): Promise<Array<{ name: string; coefficients: number[] }>> => {
  const answer = await fetch(`${url}/v1/customizations`);
  return ((await answer.json()) as { data: Array<{ name: string; coefficients: number[] }> }).data;
};

/** Texts whose contrast is below WCAG's AA for their size, and what sticks out of the window. */
const FLAWS = readFileSync(join(ROOT, 'test', 'helpers', 'page-flaws.js'), 'utf8');
const flaws = (page: Page) => page.evaluate<string[]>(FLAWS);
/** Where the focus is, and whether that is to be seen. */
const FOCUS = readFileSync(join(ROOT, 'test', 'helpers', 'page-focus.js'), 'utf8');
const focus = (page: Page) => page.evaluate<{ name: string; isMarked: boolean }>(FOCUS);

const here = executablePath === undefined ? describe.skip : describe;

here('the playground in a browser', { timeout: 5 * PATIENCE }, () => {
  beforeAll(async () => {
    upstream = await startUpstream(reply.answer(['from ', 'afar']));
    const config = join(dir, 'edge.yaml');
    writeFileSync(
      config,
      JSON.stringify({
        model: join(ROOT, 'models', 'crayon-edge'),
        pool: join(ROOT, 'models', 'crayon-edge-pool'),
        examples: EXAMPLES,
        cache_dir: join(dir, 'cache'),
        engine: { threads: 1, gpu: false, sequences: 2 },
        routing: { thresholds: { scope: 1, confidence: -1e9 } },
        server: { base_url: upstream.baseUrl, model: 'big', retries: 0 },
      }),
    );
    server = start(['serve-edge', '--config', config, '--port', '0']);
    [browser, url] = await Promise.all([
      chromium.launch({
        executablePath: executablePath!,
        args: ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
      }),
      addressOf(server),
    ]);
  }, 5 * PATIENCE);
  afterAll(async () => {
    server?.process.kill('SIGKILL');
    await browser?.close();
    await upstream?.close();
  });

  it('customises by a file, shows coverage and coefficients with their tasks, compares, and deletes', async () => {
    const { page, said, asked } = await visit(`${url}/`);
    await page.getByRole('button', { name: 'Customise for a user' }).click();
    await page.locator('input[type=file]').setInputFiles(EXAMPLES);
    // The file is read in the page's own time.
    await page.getByText('10 examples', { exact: true }).waitFor();
    expect(await page.getByRole('textbox', { name: 'User' }).inputValue()).toBe('bank');
    await page.getByRole('button', { name: 'Customise', exact: true }).click();
    const details = page.getByRole('region', { name: 'The customisation of bank' });
    await details.waitFor();
    expect(await details.getByRole('heading', { name: 'Coverage' }).textContent()).toBe('Coverage Covered');
    const [made] = await users();
    expect(made!.name).toBe('bank');
    const bars = await details.getByRole('listitem').allTextContents();
    expect(bars[0]).toBe(`route-bank${Math.max(...made!.coefficients).toFixed(2)}`);
    expect(bars).toHaveLength(made!.coefficients.length);

    await page.getByRole('checkbox', { name: 'Compare with the base' }).check();
    await page.getByRole('combobox', { name: 'Mode' }).selectOption('only_on_device');
    await ask(page, INSIDE);
    expect(await answers(page).count()).toBe(2);
    const [base, customised] = await Promise.all(
      ['Base', 'bank'].map((title) => page.getByRole('article', { name: `Answer for ${title}` }).innerText()),
    );
    expect(customised).toMatch(/^Device\s+bank\s+Red\s+The mode names it\./);
    expect(base).toMatch(/^Device\s+Base\s/);
    expect(base).not.toMatch(/\nRed\n/);
    expect(base).toMatch(/\d (ms|s) to first token\s+[\d.]+ tokens\/s/);

    await page.getByRole('button', { name: 'Delete bank' }).click();
    await page.getByRole('button', { name: 'Yes, delete bank' }).click();
    await page.getByText('Nobody else yet.').waitFor();
    expect(await users()).toEqual([]);
    expect(await page.getByRole('combobox', { name: 'User' }).inputValue()).toBe('crayon-edge');
    expect(said).toEqual([]);
    expect([...new Set(asked.map((address) => new URL(address).origin))]).toEqual([url]);
  });

  it('takes pasted lines, and says which cannot be read and what the server refuses', async () => {
    const { page } = await visit(`${url}/`);
    await page.getByRole('button', { name: 'New user' }).click();
    const field = page.getByRole('textbox', { name: 'Examples' });
    const make = page.getByRole('button', { name: 'Customise', exact: true });
    await field.fill('one\ntwo');
    await page.getByText('2 examples, 1 more needed').waitFor();
    await field.fill('one\ntwo\n{"prompt":');
    await page.getByText('Line 3 begins like JSON and is not.').waitFor();
    expect(await make.isDisabled()).toBe(true);
    await field.fill('one\ntwo\n{"question": "three"}');
    await make.click();
    await page.getByText('examples[2] is no example').waitFor();
    expect(await users()).toEqual([]);
  });

  it('shows an answer while it comes, and what it came from; Stop ends it', async () => {
    const { page } = await visit(`${url}/`);
    const first = gate();
    const never = gate();
    upstream.script(
      reply.answer(['half', ' and half'], { beforeToken: (i) => (i === 1 ? first.opened : undefined) }),
      reply.answer(['endless', '...'], { beforeToken: (i) => (i === 1 ? never.opened : undefined) }),
    );
    await page.getByRole('combobox', { name: 'Mode' }).selectOption('only_in_cloud');
    await message(page).fill('streamed?');
    await page.getByRole('button', { name: 'Send' }).click();
    const answer = answers(page).last();
    await answer.getByText('half', { exact: true }).waitFor();
    expect(await answer.getAttribute('aria-busy')).toBe('true');
    first.open();
    await answer.getByText('half and half').waitFor();
    await page.getByRole('button', { name: 'Send' }).waitFor();
    expect(await answer.getAttribute('aria-busy')).toBe('false');
    expect(await answer.innerText()).toMatch(/2 tokens/);

    const before = upstream.requests.length;
    await message(page).fill('and this?');
    await message(page).press('Enter');
    await answers(page).last().getByText('endless').waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await answers(page).last().getByText('Stopped.').waitFor();
    expect(await upstream.requests[before]!.over).toBe('broken');
    await page.getByRole('button', { name: 'Send' }).waitFor();
  });

  it('says who answered and why: inside the scope the device, outside the server, and the score on its scale', async () => {
    const { page, said } = await visit(`${url}/`);
    upstream.script(reply.answer(['from ', 'afar']));
    const inside = await ask(page, INSIDE);
    expect(await inside.innerText()).toMatch(
      /^Device\s+Base\s[\s\S]*No signal speaks for the server\.\s+scope\s+[\d.]+ > 1\s+confidence/,
    );
    const outside = await ask(page, OUTSIDE);
    expect(await outside.innerText()).toMatch(
      /^Server\s+Base · big\s+from afar\s+The query is unlike the examples of the task\.\s+scope\s+0\.?\d* < 1\s/,
    );
    const [score, zone] = await Promise.all(['.dot', '.zone'].map((part) => outside.locator(part).boundingBox()));
    expect(Math.abs(score!.x - zone!.x)).toBeLessThan(8); // at the scale's left end, where the server answers
    expect(said).toEqual([]);
  });

  it('shows the server LLM’s error in its words, and goes on', async () => {
    const { page } = await visit(`${url}/`);
    upstream.script(reply.status(500, 'The model has run out of memory.'), reply.answer(['well', ' again']));
    await page.getByRole('combobox', { name: 'Mode' }).selectOption('only_in_cloud');
    const failed = await ask(page, 'a question');
    const text = await failed.innerText();
    expect(text).toMatch(/No answer/);
    expect(text).toMatch(
      /The server LLM failed[\s\S]*The model has run out of memory\.[\s\S]*server_failed, status 502/,
    );
    expect(await (await ask(page, 'once more')).innerText()).toContain('well again');
  });

  it('says that an answer broke off, and that the server is gone', async () => {
    const { page } = await visit(`${url}/`);
    const half = { model: 'crayon-edge', choices: [{ index: 0, delta: { content: 'half' }, finish_reason: null }] };
    const body = `data: ${JSON.stringify(half)}\n\n`;
    await page.route('**/v1/chat/completions', (route) => route.fulfill({ contentType: 'text/event-stream', body }));
    const cut = await ask(page, 'a question');
    expect(await cut.innerText()).toMatch(/half[\s\S]*The answer broke off before it was whole\./);
    await page.route('**/v1/chat/completions', (route) => route.abort());
    expect(await (await ask(page, 'another')).innerText()).toContain('The server cannot be reached.');
  });

  it('is used by keyboard alone, and always shows where one is', async () => {
    const { page } = await visit(`${url}/`);
    upstream.script(reply.answer(['typed']));
    await message(page).waitFor();
    await page.keyboard.press('Tab');
    expect((await focus(page)).name).toBe('A Skip to the message');
    await page.keyboard.press('Enter');
    await page.keyboard.type(OUTSIDE);
    await page.keyboard.press('Enter');
    await answers(page).last().getByText('typed').waitFor();
    const seen = new Set<string>();
    for (let i = 0; i < 25; i++) {
      await page.keyboard.press('Tab');
      const { name, isMarked } = await focus(page);
      expect([name, isMarked]).toEqual([name, true]);
      seen.add(name);
    }
    for (const name of [
      'TEXTAREA message',
      'SELECT user',
      'SELECT mode',
      'SUMMARY More',
      'BUTTON New user',
      'DIV Questions and answers',
    ]) {
      expect([...seen]).toContain(name);
    }
  });

  it('asks nobody else, whatever stands in it, and what cannot be read or sticks out is found', async () => {
    const { page, said } = await visit(`${url}/`);
    await message(page).waitFor();
    await page.evaluate(`{
      const picture = document.createElement('img');
      picture.src = 'http://elsewhere.example/x.png';
      const heading = document.createElement('h2');
      heading.textContent = 'pale';
      heading.style.color = '#ddd';
      heading.style.width = '3000px';
      document.body.append(picture, heading);
    }`);
    expect(said.join()).toMatch(/elsewhere\.example[\s\S]*Content Security Policy/);
    await expect(page.evaluate("document.body.innerHTML = '<p>text'")).rejects.toThrow('TrustedHTML');
    expect(await flaws(page)).toEqual([
      expect.stringMatching(/^H2 .*sticks out/),
      expect.stringMatching(/^pale: 1\.\d/),
    ]);
  });

  it.each([
    ['light', 1280],
    ['dark', 1280],
    ['light', 360],
    ['dark', 360],
  ] as const)('can be read in %s at a width of %i', async (colorScheme, width) => {
    const { page } = await visit(`${url}/`, { colorScheme, viewport: { width, height: 740 } });
    upstream.script(
      reply.status(500, 'out of memory'),
      reply.answer(['see:\n```\nlet x = 1;\n```\n', 'unbreakable'.repeat(20)]),
    );
    await message(page).waitFor();
    expect(await flaws(page)).toEqual([]);
    const go = async (name: string) => {
      const tab = page.getByRole('navigation').getByRole('button', { name });
      if (await tab.first().isVisible()) await tab.first().click();
      else if (await tab.last().isVisible()) await tab.last().click();
    };
    await go('New user');
    await page.getByRole('textbox', { name: 'Examples' }).fill(readFileSync(EXAMPLES, 'utf8'));
    expect(await flaws(page)).toEqual([]);
    await page.getByRole('button', { name: 'Customise', exact: true }).click();
    await page.getByText('What it is blended from').waitFor();
    expect(await flaws(page)).toEqual([]);
    await go('Chat');
    await page.getByRole('checkbox', { name: 'Compare with the base' }).check();
    await ask(page, OUTSIDE);
    await ask(page, OUTSIDE);
    expect(await page.getByText('unbreakable').count()).toBeGreaterThan(0);
    await page.getByText('More', { exact: true }).click();
    expect(await flaws(page)).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
    for (const { model } of (await users()) as unknown as Array<{ model: string }>) {
      await fetch(`${url}/v1/customizations/${model.split(':')[1]}`, { method: 'DELETE' });
    }
  });
});

here('with an API key', { timeout: 2 * PATIENCE }, () => {
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', '--disable-gpu'] });
  }, PATIENCE);
  afterAll(() => browser.close());

  it('asks for the key, refuses a wrong one, keeps the right one in memory alone', async () => {
    const { app, device } = testApp({ apiKey: 'sk-right', playground: bundledPage });
    const { url: address } = closing(await listen(app, { host: '127.0.0.1', port: 0 }), (one) => one.stop(0));
    const { page } = await visit(`${address}/`);
    const field = page.getByLabel('API key', { exact: true });
    await field.fill('sk-wrong');
    await field.press('Enter');
    await page.getByText('This is not the server’s key.').waitFor();
    expect(await field.getAttribute('aria-invalid')).toBe('true');
    expect(await flaws(page)).toEqual([]);
    await field.fill('sk-right');
    await page.getByRole('button', { name: 'Open' }).click();
    expect(await (await ask(page, 'hello')).innerText()).toMatch(/^Device\s+Base\s+one two three/);
    expect(device.requests).toHaveLength(1);
    const kept = await page.evaluate(
      "[localStorage.length, sessionStorage.length, document.cookie, document.documentElement.outerHTML.includes('sk-right')]",
    );
    expect(kept).toEqual([0, 0, '', false]);
    await page.reload();
    await field.waitFor();
  });

  it('waits while the model is loading, and says so', async () => {
    const { app, ready } = testApp({ isLoading: true, playground: bundledPage });
    const { url: address } = closing(await listen(app, { host: '127.0.0.1', port: 0 }), (one) => one.stop(0));
    const { page } = await visit(`${address}/`);
    await page.getByText('The model is loading').waitFor();
    ready();
    await message(page).waitFor();
  });
});
