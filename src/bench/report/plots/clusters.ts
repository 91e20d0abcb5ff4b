/** The pool's clusters in two dimensions: training examples coloured by task, centroids numbered. */

import { createRandom } from '../../../core/random.js';
import { groupBy } from '../../../core/stats.js';
import type { ClusterMap } from '../../types.js';
import { html, type Markup } from '../html/markup.js';
import { linearScale, picture, placed, shape, xAxis, yAxis } from './axis.js';

/** More would make the page heavy and the picture no clearer. */
export const MAX_POINTS = 1500;
export const COLOURS = 8;
/** Across and down, as the style sheet has it: one unit is as long across as down, so that distances can be compared. */
const [WIDTH, HEIGHT] = [8, 5];

export interface TaskMark {
  task: string;
  points: number;
  /** colour `task % COLOURS`, shape by the number of times the colours were gone through */
  index: number;
}

/** Every task with its mark, the most frequent first. */
export function taskMarks({ points }: ClusterMap): TaskMark[] {
  return [...groupBy(points, ({ task }) => task)]
    .map(([task, { length }]) => ({ task, points: length }))
    .sort((a, b) => b.points - a.points || (a.task < b.task ? -1 : 1))
    .map((mark, index) => ({ ...mark, index }));
}

/** The same points every time: a seeded draw where there are too many. */
export function drawnPoints({ points }: ClusterMap): ClusterMap['points'] {
  if (points.length <= MAX_POINTS) return points;
  return createRandom(0, 'cluster-map')
    .shuffle([...points])
    .slice(0, MAX_POINTS);
}

export function taskShape({ index }: TaskMark): Markup {
  return shape(Math.floor(index / COLOURS), `task t${index % COLOURS}`);
}

export function clusterPlot(map: ClusterMap): Markup {
  const points = drawnPoints(map);
  const all = [...points, ...map.centroids];
  const [across, down] = [rangeOf(all.map((p) => p.x)), rangeOf(all.map((p) => p.y))];
  const half = 0.54 * Math.max(across.size / WIDTH, down.size / HEIGHT);
  const x = linearScale(across.middle - half * WIDTH, across.middle + half * WIDTH, 0, 100, 6);
  const y = linearScale(down.middle - half * HEIGHT, down.middle + half * HEIGHT, 100, 0, 5);
  const marks = new Map(taskMarks(map).map((mark) => [mark.task, taskShape(mark)]));
  const text = (tick: number) => String(tick).replace('-', '−');
  return picture(
    'plane map',
    "Map of the pool's clusters",
    html`${xAxis(x, 'first principal component', text)}${yAxis(y, 'second principal component', text)}<g class="points">${points.map(
      (point) => placed(x(point.x), y(point.y), '%', marks.get(point.task)!),
    )}</g><g class="centroids">${map.centroids.map((centroid, n) =>
      placed(
        x(centroid.x),
        y(centroid.y),
        '%',
        html`<g><title>centroid ${n}</title><circle r="11"/><text y="4.5" text-anchor="middle">${n}</text></g>`,
      ),
    )}</g>`,
  );
}

function rangeOf(values: readonly number[]): { middle: number; size: number } {
  const low = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const high = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (low < high) return { middle: (low + high) / 2, size: high - low };
  return { middle: Number.isFinite(low) ? low : 0, size: 1 };
}
