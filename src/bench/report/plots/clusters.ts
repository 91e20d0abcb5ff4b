/** The pool's clusters in two dimensions: training examples coloured by task, centroids numbered. */

import { createRandom } from '../../../core/random.js';
import type { ClusterMap } from '../../types.js';
import { html, type Markup } from '../html/markup.js';
import { linearScale, type PlotWidth, svg, WIDTH, xAxis, yAxis } from './axis.js';
import { shape } from './intervals.js';

/** More would make the page heavy and the picture no clearer. */
export const MAX_POINTS = 1500;
export const COLOURS = 8;

export interface TaskMark {
  task: string;
  points: number;
  /** colour `task % COLOURS`, shape by the number of times the colours were gone through */
  index: number;
}

/** Every task with its mark, the most frequent first. */
export function taskMarks({ points }: ClusterMap): TaskMark[] {
  const counts = new Map<string, number>();
  for (const { task } of points) counts.set(task, (counts.get(task) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .map(([task, n], index) => ({ task, points: n, index }));
}

/** The same points every time: a seeded draw where there are too many. */
export function drawnPoints({ points }: ClusterMap): ClusterMap['points'] {
  return points.length <= MAX_POINTS
    ? points
    : createRandom(0, 'cluster-map')
        .shuffle([...points])
        .slice(0, MAX_POINTS);
}

export function taskShape({ index }: TaskMark, x: number, y: number): Markup {
  return shape(Math.floor(index / COLOURS), x, y, `task t${index % COLOURS}`);
}

export function clusterPlot(map: ClusterMap, width: PlotWidth): Markup {
  const wide = width === 'wide';
  const frame = { left: wide ? 54 : 38, right: WIDTH[width] - 12, top: 30, bottom: wide ? 500 : 330 };
  const points = drawnPoints(map);
  const [x, y] = scales([...points, ...map.centroids], frame, wide);
  const marks = new Map(taskMarks(map).map((mark) => [mark.task, mark]));
  const text = (tick: number) => String(tick).replace('-', '−');
  return svg(
    width,
    frame.bottom + 46,
    "Map of the pool's clusters",
    html`${xAxis(x, frame, 'first principal component', text)}${yAxis(y, frame, 'second principal component', text)}<g class="points">${points.map(
      (point) => taskShape(marks.get(point.task)!, x(point.x), y(point.y)),
    )}</g><g class="centroids">${map.centroids.map(
      (centroid, n) =>
        html`<g><title>centroid ${n}</title><circle cx="${x(centroid.x)}" cy="${y(centroid.y)}" r="${wide ? 12 : 10}"/><text x="${x(centroid.x)}" y="${y(centroid.y) + 4.5}" text-anchor="middle">${n}</text></g>`,
    )}</g>`,
  );
}

/** One unit is as long across as down: distances can be compared. */
function scales(points: ReadonlyArray<{ x: number; y: number }>, frame: Parameters<typeof xAxis>[1], wide: boolean) {
  const range = (of: (p: { x: number; y: number }) => number) => {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const point of points) {
      low = Math.min(low, of(point));
      high = Math.max(high, of(point));
    }
    return low < high
      ? { middle: (low + high) / 2, size: high - low }
      : { middle: Number.isFinite(low) ? low : 0, size: 1 };
  };
  const [across, down] = [range((p) => p.x), range((p) => p.y)];
  const [w, h] = [frame.right - frame.left, frame.bottom - frame.top];
  const unit = 1.08 * Math.max(across.size / w, down.size / h);
  const x = linearScale(
    across.middle - (unit * w) / 2,
    across.middle + (unit * w) / 2,
    frame.left,
    frame.right,
    wide ? 8 : 4,
  );
  const y = linearScale(down.middle - (unit * h) / 2, down.middle + (unit * h) / 2, frame.bottom, frame.top, 5);
  return [x, y] as const;
}
