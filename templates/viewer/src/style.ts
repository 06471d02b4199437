/**
 * The page's looks: a reading room at night. Adopted as a constructed sheet, which a policy
 * without `unsafe-inline` styles allows.
 */

import { SIDE } from './style-side.ts';
import { STAGE } from './style-stage.ts';

export const COLORS = {
  present: '#6cb6ff',
  uncertain: '#f5b83d',
  absent: '#9aa3ad',
  wrong: '#ff7b72',
  /** lengths and points, which say nothing of their finding */
  measure: '#f2f4f7',
} as const;

const CSS = `
:root { color-scheme: dark; }
html, body { height: 100%; }
body { margin: 0; overflow: hidden; background: #111; }
short-instructions, full-instructions { display: none; }
#cxr-root {
  --ground: #111; --raised: #1b1d20; --line: #43484f; --text: #e8eaed; --quiet: #a9b0b8;
  --accent: ${COLORS.present}; --amber: ${COLORS.uncertain}; --wrong: ${COLORS.wrong};
  position: fixed; inset: 0; z-index: 1; display: grid; overflow: hidden;
  grid-template: 44px minmax(0, 1fr) / 82px minmax(0, 1fr) auto;
  grid-template-areas: "header header header" "tools main panel";
  background: var(--ground); color: var(--text);
  font: 14px/1.3 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
#cxr-root *, #cxr-root *::before { box-sizing: border-box; }
#cxr-root h1, #cxr-root h2 { margin: 0; font-size: 14px; font-weight: 600; }
#cxr-root ul { list-style: none; margin: 0; padding: 0; }
#cxr-root [hidden] { display: none; }
#cxr-root button, #cxr-root crowd-button, #cxr-root select, #cxr-root input, #cxr-root textarea {
  min-height: 32px; padding: 0 10px; border: 1px solid var(--line); border-radius: 5px;
  background: var(--raised); color: var(--text); font: inherit; cursor: pointer;
}
#cxr-root button:hover { border-color: #7d858e; }
#cxr-root :focus-visible { outline: 2px solid #fff; outline-offset: 1px; }
#cxr-root .cxr-stage:focus-visible { outline-offset: -2px; }
#cxr-root kbd {
  font: 11px/1 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; color: var(--quiet);
  padding: 2px 4px; border: 1px solid var(--line); border-radius: 3px; margin: 0 6px 0 0;
}
#cxr-root svg { width: 20px; height: 20px; fill: none; stroke: currentColor; stroke-width: 1.7;
  stroke-linecap: round; stroke-linejoin: round; }

.cxr-header { grid-area: header; display: flex; align-items: center; gap: 10px; padding: 0 8px 0 14px;
  border-bottom: 1px solid #26292d; white-space: nowrap; }
.cxr-item { color: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
#cxr-root .cxr-header h1 { flex: 0 1 auto; min-width: 60px; max-width: 200px; overflow: hidden; text-overflow: ellipsis; }
.cxr-header > button { flex: none; }
.cxr-steps { display: contents; }
#cxr-root h1 > button { display: flex; gap: 6px; align-items: center; max-width: 100%; padding: 0 6px; border-color: transparent;
  background: none; font-weight: 600; }
#cxr-root h1 > button:focus-visible { outline-offset: -2px; }
#cxr-root h1 > button span:first-child { overflow: hidden; text-overflow: ellipsis; }
#cxr-root .cxr-menu a { display: grid; align-items: center; min-height: 32px; padding: 0 12px; border-radius: 4px;
  color: var(--text); font-weight: 400; text-decoration: none; }
#cxr-root .cxr-menu a:is(:hover, :focus) { background: #2c333b; }
.cxr-disclaimer { flex: 0 1 auto; text-align: center; font-weight: 500; color: var(--amber); }
.cxr-patient[hidden] ~ .cxr-disclaimer { flex: 1 1 160px; white-space: normal; line-height: 17px; }
.cxr-place { font-variant-numeric: tabular-nums; }
.cxr-progress { flex: 0 1 auto; min-width: 30px; width: 72px; height: 6px; border: 0; border-radius: 3px; overflow: hidden; background: #2b3036;
  accent-color: var(--accent); }
.cxr-progress::-webkit-progress-bar { background: #2b3036; }
.cxr-progress::-webkit-progress-value { background: var(--accent); }
.cxr-progress::-moz-progress-bar { background: var(--accent); }
.cxr-quiet { position: absolute; top: 50px; left: 94px; z-index: 1; padding: 3px 8px; border-radius: 4px; pointer-events: none;
  background: rgb(20 22 24 / 88%); color: var(--quiet); font-size: 12px; }
.cxr-quiet:empty { display: none; }
.cxr-clock { min-width: 44px; text-align: right; color: var(--quiet); font-variant-numeric: tabular-nums; }

.cxr-main { grid-area: main; display: grid; grid-template: minmax(0, 1fr) minmax(44px, auto) / minmax(0, 1fr); min-width: 0; }
.cxr-view { position: relative; overflow: hidden; background: #000; }
.cxr-marks { position: absolute; inset: 0; width: 100% !important; height: 100% !important; pointer-events: none; }
.cxr-marks path { stroke-width: 2; stroke-dasharray: 7 4; }
#cxr-root .cxr-marks rect { fill: rgb(0 0 0 / 75%); stroke: none; }
#cxr-root .cxr-marks text { font-size: 12px; font-weight: 600; stroke: none; }
.cxr-tags { position: absolute; inset: 0; overflow: hidden; pointer-events: none; }
.cxr-tags span { position: absolute; left: 0; top: 0; padding: 0 5px; border-radius: 3px; font-size: 12px;
  line-height: 18px; background: rgb(0 0 0 / 75%); white-space: nowrap; }
.cxr-loading, .cxr-failure { position: absolute; inset: 0; display: grid; place-content: center; gap: 8px;
  text-align: center; background: #000; color: var(--quiet); }
.cxr-failure { color: var(--text); }
.cxr-failure p { margin: 0; max-width: 60ch; }
.cxr-message { position: absolute; left: 50%; bottom: 12px; transform: translateX(-50%); display: flex;
  flex-wrap: wrap; align-items: center; justify-content: center; gap: 8px; width: max-content;
  max-width: calc(100% - 24px); padding: 8px 12px; border: 1px solid var(--line); border-radius: 6px;
  background: rgb(20 22 24 / 94%); }
${STAGE}
${SIDE}
#cxr-root .cxr-dialog { width: min(720px, 92vw); max-height: 88vh; padding: 18px; color: var(--text);
  background: var(--raised); border: 1px solid var(--line); border-radius: 8px; }
.cxr-dialog[open] { display: grid; gap: 12px; }
.cxr-dialog::backdrop { background: rgb(0 0 0 / 60%); }
#cxr-root .cxr-dialog select, #cxr-root .cxr-dialog input { background: var(--ground); }
.cxr-dialog > button:last-child { justify-self: end; min-width: 96px; }
.cxr-text { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; color: var(--quiet); }
@media (max-width: 1599px) {
  .cxr-item { display: none; }
  #cxr-root .cxr-header h1 { max-width: 140px; }
  .cxr-place { flex: 0 1 130px; white-space: normal; font-size: 13px; line-height: 16px; }
  .cxr-patient:not([hidden]) ~ .cxr-disclaimer { flex: 0 0 158px; white-space: normal; font-size: 13px; line-height: 16px; }
}
@media (prefers-reduced-motion: reduce) { #cxr-root * { animation: none !important; transition: none !important; } }
`;

export function adopt(): void {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}
