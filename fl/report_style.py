"""The style sheet of the report: one palette, for light and dark, from phone width up."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f7f7f5; --card: #ffffff; --ink: #1d2126; --soft: #646c76; --line: #e2e4e8;
  --client: #2a6fb0; --server: #6b7787; --aggregator: #14897c; --key-holder: #8757a5; --training: #c9ced6;
  --counted: #a5c6e5; --dropped: #9aa3ae; --refused: #cc3f54; --lost: #d9dce1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --card: #1c1f24; --ink: #e7e9ec; --soft: #9ba3ad; --line: #30353c;
    --client: #6aa9e6; --server: #98a3b1; --aggregator: #45bfae; --key-holder: #b78bd6; --training: #4b525c;
    --counted: #3c6c9c; --dropped: #7a838e; --refused: #f0697c; --lost: #3a3f47;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1000px; margin: 0 auto; padding: 32px 20px 48px; }
header p, .note { color: var(--soft); margin: 4px 0 0; }
h1 { font-size: 27px; line-height: 1.25; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 0; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  margin-top: 16px; padding: 20px;
}
section > * + * { margin-top: 16px; }
.warning { border-left: 3px solid var(--refused); padding: 2px 0 2px 10px; margin: 16px 0 0; }
section > h2 + .note { margin-top: 2px; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin-top: 24px;
}
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; }
.tile b { display: block; font-size: 27px; line-height: 1.2; font-weight: 600; letter-spacing: -0.01em; }
.tile span { display: block; color: var(--soft); font-size: 14px; line-height: 1.4; margin-top: 2px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; color: var(--soft); }
.legend > span { display: inline-flex; align-items: center; gap: 7px; }
.legend i { flex: none; }

.plot { position: relative; height: 280px; margin: 24px 10px 30px 44px; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot line { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.plot polyline {
  fill: none; stroke: var(--client); stroke-width: 2.5; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; stroke-linecap: round;
}
.plot polyline.own { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 2 5; }
.plot .y, .plot .x { position: absolute; color: var(--soft); font-size: 13px; line-height: 1; }
.plot .y { right: 100%; margin-right: 10px; transform: translateY(-50%); }
.plot .x { top: 100%; margin-top: 10px; transform: translateX(-50%); }
.plot .dot { position: absolute; width: 20px; height: 20px; margin: -10px; border-radius: 50%; }
.plot .dot::after {
  content: ""; position: absolute; inset: 6px; border-radius: 50%;
  background: var(--client); border: 1.5px solid var(--card);
}
.plot .dot:hover::after { inset: 4px; }
.plot .dot.aborted::after { background: var(--card); border-color: var(--refused); }
.plot .dot.own::after { inset: 7px; background: var(--soft); }
.plot .last {
  position: absolute; transform: translate(-100%, 14px); padding-right: 2px;
  font-weight: 600; color: var(--client); font-size: 15px; line-height: 1;
}
i.stroke { width: 22px; height: 0; border-top: 2.5px solid var(--client); }
i.stroke.own { border-top: 2px dotted var(--soft); }

.scroll { overflow-x: auto; }
.grid { border-collapse: separate; border-spacing: 2px; font-size: 13px; color: var(--soft); }
.grid th { font-weight: 400; padding: 0; line-height: 1; }
.grid tbody th {
  position: sticky; left: 0; z-index: 1; background: var(--card); text-align: right; padding-right: 8px;
  white-space: nowrap; width: 1px;
}
.grid thead th { height: 18px; vertical-align: top; white-space: nowrap; }
.grid thead th span { display: inline-block; width: 0; overflow: visible; }
.grid thead th span b { display: inline-block; font-weight: 400; transform: translateX(-50%); }
.grid td, i.cell {
  position: relative; min-width: 17px; height: 17px; padding: 0; border-radius: 4px;
}
i.cell { display: inline-block; width: 17px; font-style: normal; }
.counted { background: var(--counted); }
.dropped { box-shadow: inset 0 0 0 1.5px var(--dropped); }
.refused { background: var(--refused); }
.lost { background: var(--lost); }
.refused::after, .absent::after {
  position: absolute; inset: 0; display: flex; align-items: center; justify-content: center; line-height: 1;
}
.refused::after { content: "\\d7"; color: var(--card); font-weight: 700; font-size: 14px; }
.absent::after { content: "\\b7"; color: var(--dropped); font-size: 16px; }
table.dense { font-size: 11px; border-spacing: 1px; }
.dense td { height: 11px; min-width: 9px; border-radius: 2px; }
.dense td.refused::after { font-size: 10px; }

.bars {
  display: grid; grid-template-columns: max-content 1fr max-content; gap: 10px 14px; align-items: center;
}
.bars .row { display: contents; }
.bars .track { display: flex; height: 18px; }
.bars .track i { display: block; height: 100%; min-width: 1px; border-right: 1px solid var(--card); }
.bars .track i:first-child { border-radius: 4px 0 0 4px; }
.bars .track i:last-child { border-radius: 0 4px 4px 0; border-right: 0; }
.bars .track i:only-child { border-radius: 4px; }
.bars .value {
  text-align: right; font-variant-numeric: tabular-nums; color: var(--soft); white-space: nowrap;
}
i.client { background: var(--client); }
i.server { background: var(--server); }
i.aggregator { background: var(--aggregator); }
i.key-holder { background: var(--key-holder); }
i.training { background: var(--training); }
i.swatch { width: 13px; height: 13px; border-radius: 4px; }

table.list { border-collapse: collapse; width: 100%; font-size: 15px; }
.list th { text-align: left; font-weight: 500; color: var(--soft); font-size: 14px; }
.list th, .list td { padding: 8px 16px 8px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.list tr:last-child td { border-bottom: 0; }
.list td.number, .list th.number { text-align: right; font-variant-numeric: tabular-nums; }
.list td:first-child { white-space: nowrap; }
.list ul { margin: 0; padding-left: 18px; }
dl {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 12px 20px;
  margin-bottom: 0;
}
dt { color: var(--soft); font-size: 14px; line-height: 1.3; }
dd { margin: 0; }
pre {
  margin-bottom: 0; padding: 12px 14px; border-radius: 8px;
  background: var(--page); border: 1px solid var(--line);
  font: 14px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; user-select: all;
}
footer { color: var(--soft); font-size: 14px; margin-top: 20px; }
@media (max-width: 600px) {
  main { padding: 20px 12px 32px; }
  section { padding: 16px 14px; border-radius: 10px; }
  h1 { font-size: 23px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; }
  .tile { padding: 12px; }
  .tile b { font-size: 22px; }
  .grid { border-spacing: 1.5px; }
  .grid td { min-width: 12px; }
  .list th, .list td { padding-right: 10px; }
  .plot { height: 220px; margin-left: 36px; margin-right: 8px; }
  .bars { display: block; }
  .bars .row { display: grid; grid-template-columns: 1fr max-content; gap: 2px 12px; margin-top: 10px; }
  .bars .track { grid-column: 1 / -1; order: 1; }
}
@media print { section, .tile { break-inside: avoid; } }
"""
