/**
 * The report as one HTML page that needs nothing else: no script, no request, no font. It can be mailed, opened from a disk,
 * or put beside the run. Its policy forbids scripts and requests, so that even a mistake here could not run anything.
 */

import { isCrayon } from '../../strategies/names.js';
import { type Comparison, compareTables } from '../compare.js';
import type { Report } from '../report.js';
import type { ReportTable } from '../table.js';
import * as tables from '../tables.js';
import { hybridGroups, hybridSummaryTables, hybridTables } from '../tables-hybrid.js';
import { visible, withMethod } from '../words.js';
import * as figures from './figures.js';
import { html, type Markup, NOTHING } from './markup.js';
import { STYLE } from './style.js';
import { tiles } from './tiles.js';

interface Section {
  id: string;
  title: string;
  content: Markup;
}

/** @param comparison with another run, put after the strategies */
export function reportHtml(report: Report, comparison: Comparison | null = null): string {
  const sections = sectionsOf(report, comparison);
  const { manifest, name } = report;
  const body = html`<header><h1><span>crayon</span> bench: ${name}</h1>${lead(report)}${report.remarks.map((remark) => html`<p class="remark">${remark}</p>`)}<nav aria-label="Sections">${sections.map(({ id, title }) => html`<a href="#${id}">${title}</a>`)}</nav>${tiles(report)}</header><main>${sections.map(
    ({ id, title, content }) => html`<section id="${id}"><h2>${title}</h2>${content}</section>`,
  )}<footer>${manifest.createdBy}, run started ${manifest.started}</footer></main>`;
  const head = html`<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>crayon bench: ${name}</title>`;
  return `<!doctype html>\n<html lang="en"><head>${head.text}<style>${STYLE}</style></head><body>${body.text}</body></html>\n`;
}

function lead({ manifest }: Report): Markup {
  const { base, server, pool, machine } = manifest;
  const parts = [base.name];
  if (pool !== null) parts.push(`pool of ${pool.N} base LoRAs`);
  if (server !== null) parts.push(`server ${server.name}`);
  return html`<p class="lead">${parts.join(' · ')}<br>${machine}</p>`;
}

function sectionsOf(report: Report, comparison: Comparison | null): Section[] {
  const sections: Section[] = [];
  const add = (id: string, title: string, ...content: Array<Markup | null>) => {
    const parts = content.filter((part) => part !== null && part.text !== '');
    if (parts.length > 0) sections.push({ id, title, content: html`${parts as Markup[]}` });
  };
  const { strategies, users, hybrid, latency, coefficients } = report;
  add('strategies', 'Accuracy by strategy', ...strategyContent(report));
  if (comparison !== null) add('comparison', 'Comparison', ...comparedContent(comparison));
  if (hybrid !== null) add('hybrid', 'Hybrid: accuracy against server share', ...hybridContent(report));
  add('routed', 'Hybrid as it was routed', tableHtml(tables.routedTable(report)));
  if (users.length > 1 && strategies.length > 0) {
    const full = html`<details><summary>The same as a table, with kinds and tasks</summary>${tableHtml(tables.userTable(report))}</details>`;
    add('users', 'Each user', figures.userFigure(report), full);
  }
  add('costs', 'What it costs', tableHtml(tables.costTable(report)));
  if (latency.length > 0) add('latency', 'Latency', figures.latencyFigure(report));
  add('ablation', 'Ablation, one option at a time', tableHtml(tables.ablationTable(report)));
  add('conditions', 'Devices and networks', tableHtml(tables.conditionsTable(report)));
  add('load', 'Load', tableHtml(tables.loadTable(report)), captioned(tables.loadTimesTable(report)));
  if (coefficients.length > 0) {
    add('coefficients', 'Coefficients of the blends', ...coefficientContent(report));
  }
  if (report.clusters !== null) add('clusters', "Map of the pool's clusters", figures.clusterFigure(report));
  add('run', 'The run', aboutRun(report));
  return sections;
}

/** A picture and its tables for each method of scoring. */
function strategyContent(report: Report): Markup[] {
  const all = tables.accuracyTables(report);
  return report.methods.flatMap((method) => {
    const rows = report.strategies.filter((row) => row.method === method);
    if (rows.length === 0) return [];
    const own = all.filter(({ id }) => id.endsWith(`-${method}`));
    const several = report.methods.length > 1;
    const [first, ...rest] = own;
    return [
      several ? html`<h3>${first!.title}</h3>` : NOTHING,
      figures.accuracyFigure(rows),
      tableHtml(first!),
      ...rest.map(captioned),
    ];
  });
}

function comparedContent(comparison: Comparison): Markup[] {
  const [strategies, users] = compareTables(comparison).map(captioned);
  return [strategies!, html`<details><summary>User by user</summary>${users!}</details>`];
}

/** Crayon's in full, those of the strategies beside it folded. */
function coefficientContent({ coefficients, clusterTasks }: Report): Markup[] {
  const own = coefficients.filter(({ strategy }) => isCrayon(strategy));
  const others = coefficients.filter((map) => !own.includes(map));
  const draw = (maps: typeof coefficients) => maps.map((map) => figures.coefficientFigure(map, clusterTasks));
  if (own.length === 0 || others.length === 0) return draw(coefficients);
  return [...draw(own), html`<details><summary>Other strategies</summary>${draw(others)}</details>`];
}

/** The summaries, then Crayon's fixed blend and its per-query gate by the main method; what is beside them is folded. */
function hybridContent(report: Report): Markup[] {
  const groups = hybridGroups(report);
  const all = hybridTables(report);
  if (groups.length === 0) return report.hybrid!.remarks.map((remark) => html`<p class="what">${remark}</p>`);
  const drawn = groups.map((rows, i) => {
    const { edgeStrategy, method } = rows[0]!;
    const name = html`${withMethod(rows[0]!, report.methods)} on the device`;
    const picture = figures.hybridFigure(rows);
    const numbers = html`${all[i]!.map(captioned)}`;
    const isOpen = i === 0 || (isCrayon(edgeStrategy) && method === report.methods[0]);
    return isOpen
      ? html`<h3>${name}</h3>${picture}<details><summary>The same as tables, at other shares too</summary>${numbers}</details>`
      : html`<details><summary>${name}</summary>${picture}${numbers}</details>`;
  });
  return [...hybridSummaryTables(report).map(captioned), ...drawn];
}

function aboutRun(report: Report): Markup {
  const rows = tables.facts(report).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`);
  const config = JSON.stringify(report.manifest.config, null, 2) ?? '';
  // Line by line: a line break is the one control character that belongs here.
  const lines = config.split('\n').map((line, i) => html`${i === 0 ? '' : NEWLINE}${visible(line)}`);
  return html`<dl>${rows}</dl><details><summary>Configuration</summary><pre>${lines}</pre></details>`;
}

const NEWLINE: Markup = html`
`;

function captioned(table: ReportTable | null): Markup {
  return table === null ? NOTHING : html`<h3>${table.title}</h3>${tableHtml(table)}`;
}

function tableHtml(table: ReportTable | null): Markup {
  if (table === null) return NOTHING;
  const { title, head, align, rows, notes } = table;
  const number = (i: number) => (align[i] === 'right' ? 'number' : '');
  return html`<div class="scroll"><table aria-label="${title}"><thead><tr>${head.map((name, i) => html`<th scope="col" class="${number(i)}">${name}</th>`)}</tr></thead><tbody>${rows.map(
    ({ cells, strong, clear }) =>
      html`<tr class="${strong ? 'strong' : ''}">${cells.map((cell, i) =>
        i === 0
          ? html`<th scope="row" title="${cell}">${cell}</th>`
          : html`<td class="${[number(i), clear.includes(i) ? 'clear' : ''].join(' ').trim()}">${cell}</td>`,
      )}</tr>`,
  )}</tbody></table></div><div class="notes">${notes.map((note) => html`<p>${note}</p>`)}</div>`;
}
