/** The HTML page and the Markdown: whole, self-contained, safe with hostile names; and, in a real browser, to be seen. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it, type TestContext } from 'vitest';
import { compareRuns } from '../../../../src/bench/report/compare.js';
import { escapeHtml } from '../../../../src/bench/report/html/markup.js';
import { reportHtml } from '../../../../src/bench/report/html/page.js';
import { escapeMarkdown, reportMarkdown } from '../../../../src/bench/report/markdown.js';
import { readRun } from '../../../../src/bench/report/read.js';
import { buildReport } from '../../../../src/bench/report/report.js';
import {
  answer,
  cell,
  demoRun,
  demoSeedsRun,
  HOSTILE,
  type RunContents,
  run,
  smallRun,
  user,
  writeRun,
} from '../../../helpers/bench-run.js';
import { findChromium, visit } from '../../../helpers/chromium.js';
import { temporaryRoot } from '../../../helpers/files.js';
import { colours, decodePng } from '../../../helpers/png.js';

const folder = temporaryRoot();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;
const read = (contents: RunContents) => readRun(writeRun(join(folder, `run-${runs++}`), contents));

/** Every name that comes from outside is one that would do harm. */
function hostileRun(): RunContents {
  const names = Object.values(HOSTILE);
  const cells = names.flatMap((name, i) => {
    const who = user(name, 'seen', [name, ...names]);
    return ['crayon', 'server', 'one-lora', name].map((strategy, s) =>
      cell(
        who,
        strategy,
        [answer(`t${i}`, 0, 1, { confidence: 1, reason: name }), answer(`t${i}`, 1, 0, { confidence: 2 })],
        {
          key: `cell-${i}-${s}`,
          coefficients: [0.5, -0.5],
        },
      ),
    );
  });
  const ablation = names.map((name, i) =>
    cell(user(names[0]!), 'crayon', [answer('t0', 0, 1)], {
      key: `a-${i}`,
      table: 'ablation',
      options: { [name]: name },
    }),
  );
  const [load] = demoRun({ examples: 2 }).load;
  const all = names.join(' ');
  return run(
    [...cells, ...ablation],
    {
      machine: all,
      createdBy: all,
      commit: all,
      config: { [all]: names },
      base: { name: all, parameters: 1, digest: all },
      server: { name: all, baseUrl: HOSTILE.script },
      pool: { N: 2, r: 4, embedding: all, centred: true, tau: 0.1, parameters: 8 },
      clusters: {
        points: names.map((task, i) => ({ x: i, y: 1, cluster: i % 2, task })),
        centroids: [
          { x: 0, y: 0 },
          { x: 1, y: 1 },
        ],
      },
    },
    [
      {
        ...load!,
        pattern: all,
        device: all,
        network: all,
        failed: 1,
        failures: { [HOSTILE.script]: 1 },
        goodputLimits: { [all]: 5 },
      },
    ],
  );
}

const hostile = read(hostileRun());
const page = reportHtml(buildReport(hostile, { resamples: 50 }), compareRuns(hostile, hostile, { resamples: 50 }));

/** Tags of a page, without what stands between them. */
const tagsOf = (text: string) => [...text.matchAll(/<[^<>]*>/g)].map(([tag]) => tag);

describe('a page with hostile names', () => {
  it('has no element but its own, and no attribute of theirs', () => {
    const elements = new Set(tagsOf(page).map((tag) => /^<[/!]?([a-z0-9]+)/i.exec(tag)?.[1]));
    const own = [
      'doctype',
      'html',
      'head',
      'meta',
      'title',
      'style',
      'body',
      'header',
      'h1',
      'h2',
      'h3',
      'p',
      'span',
      'br',
    ];
    const parts = [
      'nav',
      'a',
      'main',
      'section',
      'footer',
      'div',
      'small',
      'ul',
      'li',
      'dl',
      'dt',
      'dd',
      'pre',
      'details',
      'summary',
    ];
    const tables = ['table', 'thead', 'tbody', 'tr', 'th', 'td'];
    const pictures = ['svg', 'g', 'text', 'line', 'path', 'circle', 'rect', 'polygon'];
    expect([...elements].filter((name) => ![...own, ...parts, ...tables, ...pictures].includes(name!))).toEqual([]);
    const attributes = new Set(
      tagsOf(page).flatMap((tag) => [...tag.replace(/"[^"]*"/g, '""').matchAll(/\s([\w:-]+)=/g)].map((m) => m[1])),
    );
    expect([...attributes].filter((name) => /^on|src|style|action|xlink|formaction/.test(name!))).toEqual([]);
  });

  it('needs nothing from outside, and forbids it', () => {
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
    const addresses = tagsOf(page).flatMap((tag) => [...tag.matchAll(/(?:href|src)="([^"]*)"/g)].map((m) => m[1]!));
    expect(addresses.length).toBeGreaterThan(3);
    expect(addresses.filter((address) => !address.startsWith('#'))).toEqual([]);
    expect(page).not.toMatch(/@import|url\(|<script|<link|<img|<iframe/i);
  });

  it('has every section that its navigation names, once', () => {
    const named = [...page.matchAll(/<a href="#([^"]*)"/g)].map((m) => m[1]!);
    const ids = [...page.matchAll(/<section id="([^"]*)"/g)].map((m) => m[1]!);
    expect(ids).toEqual(named);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of [
      'strategies',
      'comparison',
      'hybrid',
      'users',
      'costs',
      'latency',
      'ablation',
      'load',
      'coefficients',
      'clusters',
      'run',
    ]) {
      expect(ids).toContain(id);
    }
  });

  it('shows the names as text, and control characters as replaced', () => {
    expect(page).toContain(escapeHtml(HOSTILE.script));
    expect(page).toContain(escapeHtml(HOSTILE.attribute));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    expect(page.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u202e]/);
  });

  it('has no number that is none', () => {
    expect(page.replace(/<style>.*<\/style>/s, '')).not.toMatch(/\bNaN\b|\bInfinity\b|\bundefined\b|\[object/);
  });
});

describe('a page of a run at several seeds', () => {
  const text = reportHtml(buildReport(read(demoSeedsRun({ examples: 8, seeds: [0, 1] })), { resamples: 50 }));
  const section = (id: string) => text.slice(text.indexOf(`<section id="${id}">`)).split('</section>')[0]!;

  it('has the mean at each seed on the intervals of its strategies', () => {
    expect(section('strategies').match(/<line class="seed"/g)).toHaveLength(2 * 12);
    expect(section('strategies')).toContain('Crayon, seed 1: ');
    expect(page).not.toContain('class="seed"');
  });

  it('has its users by kind, and a curve for each pool and seed', () => {
    const groups = [...section('users').matchAll(/<text class="group"[^>]*>([^<]*)</g)].map(([, name]) => name);
    expect(groups).toEqual(['seen task', 'seen kind', 'unseen kind', 'mixture']);
    const curves = section('curves').match(/<title>[^<]*, seed [01]: [\d.]+ to [\d.]+<\/title><path/g);
    expect(curves).toHaveLength(3 * 2);
  });

  it('says whose coefficients it shows', () => {
    expect(section('coefficients')).toContain('Those of seed 0');
  });
});

describe('Markdown with hostile names', () => {
  const markdown = reportMarkdown(
    buildReport(hostile, { resamples: 50 }),
    compareRuns(hostile, hostile, { resamples: 50 }),
  );

  it('has as many cells in each row as its table has columns', () => {
    const tables = markdown
      .trim()
      .split('\n\n')
      .filter((part) => part.startsWith('|'));
    expect(tables.length).toBeGreaterThan(8);
    for (const table of tables) {
      const columns = table.split('\n').map((line) => line.split(/(?<!\\)\|/).length);
      expect(new Set(columns).size).toBe(1);
    }
  });

  it('opens no tag, link, code or address', () => {
    expect(markdown.replace(/^> \*\*Note\.\*\*/gm, '')).not.toMatch(/<[a-z/!]|(?<!\\)`|(?<!\\)\[|(?<!\\)\]\(/i);
    expect(escapeMarkdown('https://a.b me@c.d **x** | `y`')).toBe(
      'https&#58;//a.b me&#64;c.d \\*\\*x\\*\\* \\| \\`y\\`',
    );
  });
});

describe('a page of little', () => {
  it.each([
    ['a run that has only begun', run([], { finished: null, plannedCells: 3, pool: null, server: null })],
    ['one user with one answer', run([cell(user('u'), 'base', [answer('u', 0, 1)])])],
    ['no pool and no server', run(smallRun().cells, { pool: null, server: null, commit: null })],
  ])('of %s is whole', (_, contents) => {
    const text = reportHtml(buildReport(read(contents), { resamples: 20 }));
    expect(text).toMatch(/<\/body><\/html>\n$/);
    expect(text.replace(/<style>.*<\/style>/s, '')).not.toMatch(/\bNaN\b|Infinity|undefined/);
    expect(text).toContain('<section id="run">');
  });
});

/** Without the browser a test is skipped, and says what would run it. */
function browser({ skip }: TestContext): string {
  const chromium = findChromium();
  if (chromium === undefined)
    skip('no chromium on this machine: with `apt-get install chromium` a browser checks the page');
  return chromium!;
}

describe('in a real browser', { timeout: 300_000 }, () => {
  const text = reportHtml(buildReport(read(demoSeedsRun({ examples: 12 })), { resamples: 100 }));
  const file = join(folder, 'demo.html');
  writeFileSync(file, text);

  it.for([
    ['light', 1, 0xf6f5f1, 0xd3470f],
    ['dark', 0, 0x121316, 0xff8a4f],
  ] as const)(
    'the page is drawn %s, of the size asked for, without a word on the console',
    ([scheme, preferred, ground, accent], context) => {
      const chromium = browser(context);
      const path = join(folder, `${scheme}.png`);
      const { console } = visit(chromium, file, [
        '--window-size=1000,1400',
        `--blink-settings=preferredColorScheme=${preferred}`,
        `--screenshot=${path}`,
      ]);
      expect(console).toEqual([]);
      const picture = decodePng(readFileSync(path));
      expect([picture.width, picture.height]).toEqual([1000, 1400]);
      const counts = colours(picture);
      expect(picture.colour(2, 2)).toBe(ground);
      expect(counts.get(accent)).toBeGreaterThan(200);
      expect(counts.size).toBeGreaterThan(100);
      expect(Math.max(...counts.values())).toBeLessThan(0.9 * 1000 * 1400);
    },
  );

  it.for([375, 1000])('nothing sticks out of a page %i pixels wide, with hostile names either', (width, context) => {
    const chromium = browser(context);
    // A window is never as narrow as a phone; a frame is.
    const frames = [text, page].map(
      (content) =>
        `<iframe style="width:${width}px;height:700px;border:0" srcdoc="${content.replaceAll('&', '&amp;').replaceAll('"', '&quot;')}"></iframe>`,
    );
    const measure = `
      onload = () => {
        const pages = [...document.querySelectorAll('iframe')].map((frame) => frame.contentDocument.documentElement);
        const drawnSize = (text) => {
          const { a, b } = text.getScreenCTM();
          return Math.hypot(a, b) * parseFloat(getComputedStyle(text).fontSize);
        };
        const shown = (page, what) => [...page.querySelectorAll(what)].filter((part) => part.getBoundingClientRect().width > 0);
        document.title = JSON.stringify(pages.map((page) => ({
          width: page.scrollWidth,
          pictures: shown(page, 'svg.picture').length,
          smallest: Math.min(...shown(page, '.picture text').map(drawnSize)),
        })));
      };`;
    const wrapper = join(folder, `frames-${width}.html`);
    writeFileSync(wrapper, `<!doctype html><title>not measured</title>${frames.join('')}<script>${measure}</script>`);
    const { stdout, console } = visit(chromium, wrapper, ['--dump-dom']);
    expect(console).toEqual([]);
    const title = /<title>(.*?)<\/title>/.exec(stdout)![1]!;
    for (const measured of JSON.parse(title)) {
      expect(measured.width).toBe(width);
      expect(measured.pictures).toBeGreaterThan(4);
      expect(measured.smallest).toBeGreaterThanOrEqual(11); // pixels: a picture narrows, its letters do not
    }
  });

  it('a script or a request in the page would be seen on the console', (context) => {
    const chromium = browser(context);
    const broken = join(folder, 'broken.html');
    writeFileSync(
      broken,
      text.replace('</body>', '<script>document.title = "ran"</script><img src="other.png"></body>'),
    );
    const { console, stdout } = visit(chromium, broken, ['--dump-dom']);
    expect(console.join()).toMatch(/Content Security Policy/);
    expect(console.length).toBeGreaterThanOrEqual(2);
    expect(stdout).not.toContain('<title>ran');
  });
});
