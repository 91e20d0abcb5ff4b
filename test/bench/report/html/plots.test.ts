/** Ticks, scales and pictures: what stands where, and that nothing outside becomes markup. */

import { describe, expect, it } from 'vitest';
import { accuracyRange, linearScale, linearTicks, logScale, logTicks } from '../../../../src/bench/report/html/axis.js';
import { escapeHtml, html } from '../../../../src/bench/report/html/markup.js';
import {
  clusterPlot,
  drawnPoints,
  heatPlot,
  intervalPlot,
  latencyPlot,
  MAX_POINTS,
  taskMarks,
} from '../../../../src/bench/report/html/plots.js';
import { HOSTILE } from '../../../helpers/bench-run.js';

describe('ticks', () => {
  it.each([
    [0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]],
    [0.55, 0.93, 4, [0.6, 0.7, 0.8, 0.9]],
    [-1, 1, 4, [-1, -0.5, 0, 0.5, 1]],
    [0, 1000, 2, [0, 500, 1000]],
    [0.001, 0.0011, 2, [0.001, 0.00105, 0.0011]],
  ])('from %d to %d, about %i', (low, high, count, expected) => {
    expect(linearTicks(low, high, count)).toEqual(expected);
  });

  it.each([
    [1, 100, 9, [1, 2, 5, 10, 20, 50, 100]],
    [12, 180, 9, [20, 50, 100]],
    [0.1, 10_000, 4, [0.1, 10, 1000]],
    [0.1, 10_000, 6, [0.1, 1, 10, 100, 1000, 10_000]],
    [3, 4, 9, []],
  ])('on a logarithmic axis from %d to %d, at most %i', (low, high, most, expected) => {
    expect(logTicks(low, high, most)).toEqual(expected);
  });

  it('never are an empty range', () => {
    expect(() => linearTicks(1, 1, 5)).toThrow();
    expect(accuracyRange([0.5, 0.5])[0]).toBeLessThan(accuracyRange([0.5, 0.5])[1]);
    expect(accuracyRange([0])).toEqual([0, 0.1]);
    expect(accuracyRange([1])).toEqual([0.9, 1]);
    expect(accuracyRange([])).toEqual([0, 1]);
    expect(accuracyRange([0.31, 0.58])).toEqual([0.3, 0.6]);
  });
});

describe('scales', () => {
  it('map the ends to the ends, also upside down', () => {
    const y = linearScale(0, 2, 100, 0, 2);
    expect([y(0), y(1), y(2)]).toEqual([100, 50, 0]);
    const x = logScale(1, 100, 0, 10, 9);
    expect([x(1), x(10), x(100)].map((v) => Math.round(v * 1e9) / 1e9)).toEqual([0, 5, 10]);
  });
});

describe('html', () => {
  it('escapes every value, in content and in attributes', () => {
    const name = '<b a="1" c=\'2\'>&amp;';
    expect(html`<p title="${name}">${name}</p>`.text).toBe(
      '<p title="&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;">&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;</p>',
    );
  });

  it('keeps markup, and lists of it', () => {
    expect(html`<ul>${[html`<li>${'<'}</li>`, html`<li>2</li>`]}</ul>`.text).toBe('<ul><li>&lt;</li><li>2</li></ul>');
  });

  it('rounds numbers to a hundredth and refuses those that are none', () => {
    expect(html`${1 / 3} ${1e-9} ${-2.5}`.text).toBe('0.33 0 -2.5');
    expect(() => html`${Number.NaN}`).toThrow('not finite');
  });

  it('replaces what would turn, break or end a line', () => {
    expect(escapeHtml('a\u202Eb\u0000c\nd\u001b[31m\u2028')).toBe('a\ufffdb\ufffdc\ufffdd\ufffd[31m\ufffd');
  });
});

/** Whether an SVG holds only these elements, well nested, and no event or address. */
function expectSound(svg: string): void {
  const allowed = /^(svg|g|title|text|line|path|circle|rect|polygon)$/;
  const open: string[] = [];
  for (const [, slash, name, , self] of svg.matchAll(/<(\/?)([a-zA-Z]+)((?:\s[^<>]*?)?)(\/?)>/g)) {
    expect(name).toMatch(allowed);
    if (slash) expect(open.pop()).toBe(name);
    else if (!self) open.push(name!);
  }
  expect(open).toEqual([]);
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  const tags = [...svg.matchAll(/<[^<>]*>/g)].map(([tag]) => tag.replace(/aria-label="[^"]*"/, ''));
  expect(tags.join('')).not.toMatch(/\bon\w+=|href|src|javascript/i);
  expect(svg.replace(/<[^<>]*>/g, '')).not.toMatch(/[<>]/);
}

const names = Object.values(HOSTILE);

describe('a picture', () => {
  it('of accuracies has one row each, with its figure', () => {
    const rows = [...names, 'Crayon'].map((label, i) => ({
      label,
      value: { estimate: 0.1 * i, low: 0.1 * i - 0.05, high: 0.1 * i + 0.05 },
      role: 'other' as const,
      seeds: [],
      parts: [{ kind: i, value: 0.5, label: 'seen task' }],
    }));
    const svg = intervalPlot(rows).text;
    expectSound(svg);
    expect(svg.match(/class="dot"/g)).toHaveLength(rows.length);
    expect(svg).toContain('>60.0<');
    expect(svg).not.toContain(`${'x'.repeat(60)}</text>`);
  });

  it('of latencies has a box where the quartiles are known', () => {
    const box = { count: 9, lower: { p5: 1, p25: 2, p75: 4 }, p50: 3, p95: 5, p99: 6 };
    const rows = [
      { title: HOSTILE.script, source: 'on_device' as const, box },
      { title: 'summaries', source: 'in_cloud' as const, box: { ...box, count: null, lower: null } },
      {
        title: 'zero',
        source: 'on_device' as const,
        box: { count: 2, lower: { p5: 0, p25: 0, p75: 0 }, p50: 0, p95: 0, p99: 0 },
      },
    ];
    const svg = latencyPlot(rows).text;
    expectSound(svg);
    expect(svg.match(/<rect/g)).toHaveLength(2);
  });

  it('of latencies that are all zero is drawn', () => {
    const box = { count: 1, lower: { p5: 0, p25: 0, p75: 0 }, p50: 0, p95: 0, p99: 0 };
    expectSound(latencyPlot([{ title: 'a', source: 'on_device', box }]).text);
  });

  it('of coefficients has a cell for each, also negative or missing ones', () => {
    const svg = heatPlot({
      label: 'map',
      rows: names,
      columns: ['0 a', HOSTILE.script],
      values: [[0.5, -0.5], [Number.NaN]],
      full: 0.5,
      text: String,
    }).text;
    expectSound(svg);
    expect(svg.match(/class="positive"/g)).toHaveLength(1);
    expect(svg.match(/class="negative"/g)).toHaveLength(1);
    expect(svg.match(/class="none"/g)).toHaveLength(2 * names.length - 2);
  });

  it('of clusters has every point and every centroid, and colours by task', () => {
    const points = names.map((task, i) => ({ x: i, y: -i, cluster: 0, task }));
    const svg = clusterPlot({
      points,
      centroids: [
        { x: 0, y: 0 },
        { x: 1, y: 1 },
      ],
    }).text;
    expectSound(svg);
    expect(svg.match(/class="task t\d"/g)).toHaveLength(points.length);
    expect(svg.match(/centroid \d/g)).toHaveLength(2);
  });

  it.each([
    ['no point', []],
    ['one point', [{ x: 3, y: 3, cluster: 0, task: 'a' }]],
    ['points on a line', [0, 1].map((x) => ({ x, y: 2, cluster: 0, task: 'a' }))],
  ])('of clusters with %s is drawn', (_, points) => {
    expectSound(clusterPlot({ points, centroids: [] }).text);
  });
});

describe('the map of clusters', () => {
  const points = Array.from({ length: 4000 }, (_, i) => ({ x: i, y: i, cluster: 0, task: `t${i % 10}` }));

  it('draws a limited number of points, the same ones every time', () => {
    const map = { points, centroids: [] };
    expect(drawnPoints(map)).toHaveLength(MAX_POINTS);
    expect(drawnPoints(map)).toEqual(drawnPoints(map));
    expect(new Set(drawnPoints(map)).size).toBe(MAX_POINTS);
  });

  it('gives every task a mark of its own, the most frequent first', () => {
    const marks = taskMarks({ points: [...points, points[3]!], centroids: [] });
    expect(marks).toHaveLength(10);
    expect(marks[0]).toEqual({ task: 't3', points: 401, index: 0 });
    const drawn = marks.map(({ index }) => [index % 8, Math.floor(index / 8)].join());
    expect(new Set(drawn).size).toBe(10);
  });
});
