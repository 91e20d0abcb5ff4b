/** The look of the report page: one style sheet, light and dark by the reader's own setting, from a phone's width up. */

export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f6f5f1; --card: #ffffff; --ink: #1d1d20; --muted: #66666d; --line: #e3e1da; --faint: #efede7;
  --accent: #d3470f; --server: #1f63b5; --reference: #4d4d55; --other: #a2a2a9; --scope: #0f8a76; --both: #7a47c2;
  --warn: #fff3d6; --warn-line: #e2b84c; --on: #ffffff; --on-middle: #1d1d20;
  --t0: #d3470f; --t1: #1f63b5; --t2: #12866f; --t3: #b58a00; --t4: #7a47c2; --t5: #c22b66; --t6: #5f6b1d; --t7: #6f6f78;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #121316; --card: #1a1c20; --ink: #ececef; --muted: #a0a1aa; --line: #2f3238; --faint: #24262b;
    --accent: #ff8a4f; --server: #6fb2ff; --reference: #c3c4cc; --other: #74767f; --scope: #3fcfb4; --both: #b894f4;
    --warn: #33290f; --warn-line: #8a6d1f; --on: #15161a; --on-middle: #15161a;
    --t0: #ff8a4f; --t1: #6fb2ff; --t2: #3fcfb4; --t3: #e3bd3f; --t4: #b894f4; --t5: #ff7fab; --t6: #b5c45a; --t7: #a9aab3;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
main, header { max-width: 1000px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 44px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -.02em; margin: 0; overflow-wrap: anywhere; }
h1 span { color: var(--accent); }
h2 { font-size: 19px; letter-spacing: -.01em; margin: 0 0 2px; }
h3 { font-size: 15px; margin: 26px 0 8px; }
p { margin: 6px 0; }
a { color: inherit; text-decoration-color: var(--other); text-underline-offset: 3px; }
.lead { color: var(--muted); margin: 6px 0 0; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 18px 0 0; font-size: 14px; }
.remark { background: var(--warn); border: 1px solid var(--warn-line); border-radius: 10px; padding: 9px 14px; margin: 14px 0 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(172px, 1fr)); gap: 12px; margin: 24px 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 14px 16px 13px; display: flex; flex-direction: column; }
.tile .name { color: var(--muted); font-size: 13px; min-height: 6em; }
.tile .figure { font-size: 28px; font-weight: 650; letter-spacing: -.02em; line-height: 1.25; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile .figure small { font-size: 15px; font-weight: 500; letter-spacing: 0; color: var(--muted); }
.tile .range { color: var(--muted); font-size: 13px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 16px; padding: 22px 24px 20px; margin: 20px 0; }
.what { color: var(--muted); font-size: 14px; margin: 0 0 14px; }
.notes { color: var(--muted); font-size: 13px; margin-top: 10px; }
.notes p { margin: 3px 0; max-width: 92ch; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 12px -24px 0; padding: 0 24px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px 6px 0; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: bottom; }
th:last-child, td:last-child { padding-right: 0; }
tbody tr:last-child > * { border-bottom: 0; }
tbody th, tbody td { vertical-align: baseline; }
thead th { color: var(--muted); font-weight: 500; font-size: 12.5px; }
tbody th { font-weight: 400; max-width: 300px; overflow: hidden; text-overflow: ellipsis; }
td { max-width: 340px; overflow: hidden; text-overflow: ellipsis; }
.number { text-align: right; }
.strong > th { font-weight: 650; color: var(--accent); }
td.clear { font-weight: 650; }
details { margin-top: 16px; }
summary { cursor: pointer; color: var(--muted); font-size: 14px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 10px 0 0; font-size: 14px; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; background: var(--faint); border-radius: 10px; padding: 12px 14px; font-size: 12.5px; line-height: 1.45; }
footer { color: var(--muted); font-size: 13px; padding: 4px 0 44px; overflow-wrap: anywhere; }
.marks { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 10px 0 0; list-style: none; font-size: 13px; color: var(--muted); }
.marks li { overflow-wrap: anywhere; } .marks li > svg { display: inline-block; width: 26px; height: 14px; vertical-align: -2px; margin-right: 6px; }
.picture { --top: 0px; --right: 0px; --bottom: 46px; --left: 0px; display: block; box-sizing: content-box;
  width: calc(100% - var(--left) - var(--right)); padding: var(--top) var(--right) var(--bottom) var(--left); }
.rows { --left: 222px; --right: 62px; } .plane { --top: 30px; --right: 14px; --left: 42px; height: 330px; }
.map { height: auto; aspect-ratio: 8 / 5; } .square { height: auto; aspect-ratio: 1; } .heat { --right: 62px; --bottom: 0px; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(205px, 1fr)); gap: 18px 20px; margin: 14px 0 20px; }
.panels > div { display: flex; flex-direction: column; justify-content: flex-end; }
.panels p { font-size: 13px; color: var(--muted); margin: 0 0 4px; } .panel-name { color: var(--hue); font-weight: 650; }
svg { overflow: visible; }
svg text { font-family: inherit; font-size: 13px; fill: var(--ink); }
.axis line { stroke: var(--line); stroke-width: 1; } .axis text, svg .column { fill: var(--muted); font-size: 12px; }
svg .value { font-weight: 600; font-variant-numeric: tabular-nums; text-anchor: end; transform: translate(54px, 4.5px); }
.rows .label { text-anchor: end; transform: translate(-14px, 4.5px); }
.row .interval { stroke-width: 3; stroke-linecap: round; opacity: .55; } .row .seed { stroke: var(--hue); stroke-width: 1.6; }
.other, .random { --hue: var(--other); } .reference, .oracle, .box { --hue: var(--reference); } .crayon, .confidence, .raw { --hue: var(--accent); }
.server, .calibrated, .in_cloud { --hue: var(--server); } .scope { --hue: var(--scope); } .both, .isotonic { --hue: var(--both); } .calibrated-user { --hue: var(--t5); }
.rates { --hue: var(--t3); } .calibrated-rates { --hue: var(--t6); } .advantage { --hue: var(--t4); } .gain { --hue: var(--t2); }
.interval, .curve, .mark line, .box line { stroke: var(--hue); } .dot, .mark circle, .box circle { fill: var(--hue); }
.row.crayon .label, .row.crayon .value { fill: var(--accent); font-weight: 650; }
.row .part { fill: var(--card); stroke: var(--hue); stroke-width: 1.3; }
.marks .part { fill: none; stroke: var(--muted); stroke-width: 1.3; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.curve.confidence { stroke-width: 2.2; } .curve.calibrated { stroke-width: 3; } .curve.random { stroke-width: 1.6; }
.curve.scope { stroke-dasharray: 7 3; } .curve.both { stroke-dasharray: 10 3 2 3; } .curve.calibrated-user { stroke-dasharray: 12 4; }
.curve.rates { stroke-dasharray: 4 3; } .curve.calibrated-rates { stroke-dasharray: 16 3; }
.curve.advantage { stroke-dasharray: 2 3; } .curve.gain { stroke-width: 2.6; stroke-dasharray: 20 3 3 3; }
.curve.oracle { stroke-dasharray: 2 4; stroke-linecap: round; }
.band { fill: var(--other); opacity: .2; }
.level { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 3 4; } svg .end { fill: var(--muted); font-size: 12px; }
.mark line { stroke-width: 2; } .mark circle { stroke: var(--card); stroke-width: 1.5; }
.box line { stroke-width: 1.3; } .box rect { fill: var(--other); } .box.in_cloud rect { fill: var(--server); }
.box line.median { stroke: var(--card); stroke-width: 2; } .box line.alone { stroke-width: 3; }
.heat rect { stroke: var(--card); stroke-width: 2; } .heat .column { transform: rotate(-36deg); } .heat .label { overflow: hidden; }
.heat .none, .heat .ground { fill: var(--faint); } .heat .positive { fill: var(--accent); } .heat .negative { fill: var(--server); }
.heat .high { fill: var(--on); } .heat .middle { fill: var(--on-middle); } .heat .figure { font-size: 11.5px; font-variant-numeric: tabular-nums; }
.heat .group { fill: var(--muted); font-size: 12px; font-weight: 600; } .curve.loss { stroke-width: 1.6; opacity: .8; }
.l0 { --hue: var(--t0); } .l1 { --hue: var(--t1); } .l2 { --hue: var(--t2); } .l3 { --hue: var(--t3); }
.l4 { --hue: var(--t4); } .l5 { --hue: var(--t5); } .l6 { --hue: var(--t6); } .l7 { --hue: var(--t7); }
.points * { opacity: .72; }
.t0 { fill: var(--t0); } .t1 { fill: var(--t1); } .t2 { fill: var(--t2); } .t3 { fill: var(--t3); }
.t4 { fill: var(--t4); } .t5 { fill: var(--t5); } .t6 { fill: var(--t6); } .t7 { fill: var(--t7); }
.centroids circle { fill: var(--card); stroke: var(--ink); stroke-width: 1.8; } .centroids text { font-weight: 650; font-size: 12px; }
@media (max-width: 720px) {
  main, header { padding: 0 14px; } header { padding-top: 26px; }
  h1 { font-size: 25px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; } .tile { padding: 10px 12px; } .tile .name { min-height: 0; } .tile .figure { font-size: 22px; } .tile .figure small { font-size: 13px; }
  section { padding: 16px 14px; border-radius: 13px; margin: 14px 0; }
  .scroll { margin: 10px -14px 0; padding: 0; } tbody th, thead th:first-child { padding-left: 14px; } th:last-child, td:last-child { padding-right: 14px; }
  tbody th, thead th:first-child { position: sticky; left: 0; background: var(--card); min-width: 116px; max-width: 142px; white-space: normal; overflow-wrap: anywhere; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 7px; }
  .rows { --left: 14px; --right: 14px; } .rows .label { text-anchor: start; transform: translate(0, -11px); } svg .value { transform: translate(0, -11px); }
  .plane { height: 250px; } .map, .square { height: auto; } .heat { --top: 40px; --right: 4px; } .heat .column { transform: rotate(-90deg) translate(-3px, 4px); } .heat .label text { font-size: 11px; }
  .crowded .figure { display: none; }
}
@media print {
  body { background: #fff; } section, .tile { break-inside: avoid; }
}
`;
