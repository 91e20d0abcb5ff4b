/** Reliability diagrams: a dot where predicted and seen say, and a square for each probability. */

import { describe, expect, it } from 'vitest';
import { reliabilityPlots } from '../../../../src/bench/report/html/reliability-plot.js';
import { reliabilityRows } from '../../../../src/bench/report/reliability.js';

describe('the reliability diagrams', () => {
  // 100 answers at 0.2, of which 40 are right, and 100 at 0.9, all right
  const values = Float64Array.from({ length: 200 }, (_, i) => (i < 100 ? 0.2 : 0.9));
  const labels = Array.from(values, (_, i) => Number(i < 40 || i >= 100));
  const all = [
    { name: 'raw', title: 'as it <is>', values },
    { name: 'calibrated', title: 'calibrated', values },
  ];
  const { text } = reliabilityPlots(reliabilityRows(all, labels, { seed: 0, resamples: 50 }));

  it('have a square for each, and in it a dot for each bin', () => {
    expect(text.match(/<svg class="picture plane square"/g)).toHaveLength(2);
    expect([...text.matchAll(/<circle cx="([\d.]+)%" cy="([\d.]+)%"/g)].map(([, x, y]) => [x, y])).toEqual([
      ...[
        ['20', '60'],
        ['90', '0'],
      ],
      ...[
        ['20', '60'],
        ['90', '0'],
      ],
    ]);
    expect(text).toContain('100 answers of 20 % to 20 %: 20 % predicted, 40 % [');
  });

  it('have the error in words, and no markup of theirs', () => {
    // half of the answers are off by 0.2, half by 0.1
    expect(text.match(/ECE 0\.150 \[/g)).toHaveLength(2);
    expect(text).toContain('as it &lt;is&gt;');
  });
});
