/** Reliability diagrams: the predicted probability of a right answer against the share of right ones. */

import type { ReliabilityRow } from '../reliability.js';
import * as words from '../words.js';
import { inHundredths, linearScale, picture, xAxis, yAxis } from './axis.js';
import { html, type Markup } from './markup.js';

/** A square for each, with a dot for each bin and its interval; on the diagonal, what is predicted is what is seen. */
export function reliabilityPlots(rows: readonly ReliabilityRow[]): Markup {
  const panels = rows.map((row) => {
    return html`<div><p><span class="panel-name ${row.name}">${row.title}</span><br>ECE ${words.fineInterval(row.ece)}<br>${words.decimal(row.eceOfPerfect)} if they were right</p>${reliabilityPlot(row)}</div>`;
  });
  return html`<div class="panels">${panels}</div>`;
}

function reliabilityPlot({ name, title, bins }: ReliabilityRow): Markup {
  const x = linearScale(0, 1, 0, 100, 5);
  const y = linearScale(0, 1, 100, 0, 5);
  const marks = bins.map(({ answers, from, to, predicted, observed }) => {
    const range = `${words.percent(from)} to ${words.percent(to)}`;
    return html`<g class="mark ${name}"><title>${words.plural(answers, 'answer')} of ${range}: ${words.percent(predicted)} predicted, ${words.percentInterval(observed)} right</title><line x1="${x(predicted)}%" x2="${x(predicted)}%" y1="${y(observed.low)}%" y2="${y(observed.high)}%"/><circle cx="${x(predicted)}%" cy="${y(observed.estimate)}%" r="4"/></g>`;
  });
  return picture(
    'plane square',
    `Reliability of ${title}`,
    html`${xAxis(x, 'predicted, %', inHundredths)}${yAxis(y, 'right, %', inHundredths)}<line class="level" x2="100%" y1="100%"/>${marks}`,
  );
}
