/**
 * The page's looks: a reading room at night. Adopted as a constructed sheet, which a policy
 * without `unsafe-inline` styles allows.
 */

export const COLORS = {
  present: '#6cb6ff',
  uncertain: '#f5b83d',
  absent: '#9aa3ad',
  wrong: '#ff7b72',
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
  grid-template: 44px minmax(0, 1fr) / 48px minmax(0, 1fr) 364px;
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
#cxr-root .cxr-stage:focus-visible { outline: none; }
#cxr-root kbd {
  font: 11px/1 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; color: var(--quiet);
  padding: 2px 4px; border: 1px solid var(--line); border-radius: 3px; margin: 0 6px 0 0;
}
#cxr-root svg { width: 20px; height: 20px; fill: none; stroke: currentColor; stroke-width: 1.7;
  stroke-linecap: round; stroke-linejoin: round; }

.cxr-header { grid-area: header; display: flex; align-items: center; gap: 10px; padding: 0 8px 0 14px;
  border-bottom: 1px solid #26292d; white-space: nowrap; }
.cxr-item { color: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
.cxr-disclaimer { flex: 1; text-align: center; font-weight: 500; color: var(--amber); }
.cxr-clock { min-width: 44px; text-align: right; color: var(--quiet); font-variant-numeric: tabular-nums; }

.cxr-toolbar { grid-area: tools; display: flex; flex-direction: column; gap: 4px; padding: 6px 4px; }
#cxr-root .cxr-toolbar button { height: 40px; padding: 0; border-color: transparent; background: none;
  display: grid; place-items: center; }
#cxr-root .cxr-toolbar button:hover { background: var(--raised); }
#cxr-root .cxr-toolbar button[aria-pressed="true"] { background: #17324d; border-color: var(--accent);
  color: var(--accent); }
#cxr-root .cxr-toolbar [data-tool="rectangle"], #cxr-root .cxr-toolbar [data-action="invert"] { margin-top: 10px; }

.cxr-main { grid-area: main; display: grid; grid-template: minmax(0, 1fr) 44px / minmax(0, 1fr); min-width: 0; }
.cxr-view { position: relative; overflow: hidden; background: #000; }
.cxr-stage { position: absolute; inset: 0; user-select: none; cursor: default !important; }
.cxr-stage[data-active-tool="pan"] { cursor: grab !important; }
.cxr-stage[data-active-tool="zoom"] { cursor: zoom-in !important; }
.cxr-stage:is([data-active-tool="rectangle"], [data-active-tool="ellipse"], [data-active-tool="polygon"]) {
  cursor: crosshair !important; }
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
.cxr-presets { display: flex; align-items: center; gap: 4px; padding: 0 8px; white-space: nowrap;
  border-top: 1px solid #26292d; }
.cxr-notes { flex: 1; min-width: 0; overflow: hidden; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
  white-space: normal; overflow-wrap: anywhere; padding: 0 6px; color: var(--amber); font-size: 12px; line-height: 16px; }
.cxr-readout { flex: none; white-space: pre; color: var(--quiet); font-variant-numeric: tabular-nums; font-size: 13px; }

.cxr-panel { grid-area: panel; display: flex; flex-direction: column; gap: 6px; min-height: 0;
  padding: 6px 10px 10px; border-left: 1px solid #26292d; background: #15171a; }
.cxr-head { display: flex; align-items: center; gap: 8px; }
.cxr-count { flex: 1; color: var(--quiet); font-variant-numeric: tabular-nums; }
#cxr-root .cxr-head kbd { margin: 0 0 0 6px; }
#cxr-root .cxr-findings { flex: 0 1 auto; min-height: 160px; overflow-y: auto; overflow-x: hidden; }
.cxr-finding { display: flex; align-items: center; height: 33px; padding-right: 2px; border-radius: 5px; }
.cxr-finding:has([aria-current="true"]) { background: #23272c; box-shadow: inset 3px 0 var(--accent); }
#cxr-root .cxr-name { flex: 1; min-width: 0; display: flex; align-items: center; gap: 6px; padding: 0 8px;
  border-color: transparent; background: none; text-align: left; }
.cxr-name span:first-of-type { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.cxr-findings .cxr-name span:first-of-type { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
  white-space: normal; overflow-wrap: anywhere; line-height: 15px; }
.cxr-mark { margin-left: auto; font-size: 12px; color: var(--quiet); white-space: nowrap; }
.cxr-finding[data-warning] .cxr-mark { color: var(--amber); font-size: 15px; }
#cxr-root .cxr-finding[data-answer="absent"] .cxr-name { color: var(--quiet); }
#cxr-root .cxr-finding[data-answer="present"] .cxr-name { color: #fff; font-weight: 600; }
#cxr-root .cxr-finding[data-excluded] .cxr-choices { opacity: 0.78; }
.cxr-choices { display: flex; }
#cxr-root .cxr-choices button { width: 36px; padding: 0; border-radius: 0; background: none; color: var(--quiet);
  margin-left: -1px; font-weight: 600; }
#cxr-root .cxr-choices button:first-child { border-radius: 5px 0 0 5px; }
#cxr-root .cxr-choices button:last-child { border-radius: 0 5px 5px 0; }
#cxr-root .cxr-finding[data-answer="unanswered"] .cxr-choices button { border-color: #7d858e; color: var(--text); }
#cxr-root .cxr-choices button[aria-checked="true"] { color: #0b0d0f; z-index: 1; }
#cxr-root .cxr-choices button[data-state="present"][aria-checked="true"] { background: var(--accent); border-color: var(--accent); }
#cxr-root .cxr-choices button[data-state="uncertain"][aria-checked="true"] { background: var(--amber); border-color: var(--amber); }
#cxr-root .cxr-choices button[data-state="absent"][aria-checked="true"] { background: #3a3f45; border-color: #3a3f45; color: var(--text); }
#cxr-root .cxr-choices button:focus-visible { z-index: 2; }

#cxr-root .cxr-rois { flex: 1 1000 44px; min-height: 36px; overflow-y: auto; border-top: 1px solid #26292d; padding-top: 4px; }
.cxr-rois li { display: flex; align-items: center; }
.cxr-rois li[data-answer="present"] svg { color: var(--accent); }
.cxr-rois li[data-answer="uncertain"] svg { color: var(--amber); }
.cxr-rois li:is([data-answer="absent"], [data-answer="unanswered"]) { color: var(--wrong); }
.cxr-rois li:has([aria-current="true"]) { background: #23272c; border-radius: 5px; }
#cxr-root .cxr-rois li [data-action] { width: 32px; padding: 0; border-color: transparent; background: none; }
.cxr-rois .cxr-none { padding: 6px 4px; color: var(--quiet); font-size: 13px; }
#cxr-root .cxr-comment { flex: none; height: 34px; padding: 7px 10px; resize: none; cursor: text; }
.cxr-foot { display: grid; }
#cxr-root .cxr-foot crowd-button, #cxr-root .cxr-primary { min-height: 38px; display: grid; place-items: center;
  background: var(--accent); border-color: var(--accent); color: #06121f; font-weight: 650; text-align: center; }
#cxr-root .cxr-foot crowd-button[disabled] { opacity: 0.55; cursor: progress; }

#cxr-root .cxr-dialog { width: min(720px, 92vw); max-height: 88vh; padding: 18px; color: var(--text);
  background: var(--raised); border: 1px solid var(--line); border-radius: 8px; }
.cxr-dialog[open] { display: grid; gap: 12px; }
.cxr-dialog::backdrop { background: rgb(0 0 0 / 60%); }
#cxr-root .cxr-dialog select, #cxr-root .cxr-dialog input { background: var(--ground); }
.cxr-dialog > button:last-child { justify-self: end; min-width: 96px; }
.cxr-keys { display: grid; grid-template-rows: repeat(12, auto); grid-auto-flow: column; gap: 6px 24px; margin: 0 0 12px; }
.cxr-keys div { display: flex; align-items: center; gap: 8px; }
.cxr-keys dt { min-width: 92px; text-align: right; }
.cxr-keys dd { margin: 0; }
#cxr-root .cxr-keys kbd { color: var(--text); }
.cxr-text { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; color: var(--quiet); }
@media (min-height: 900px) {
  #cxr-root .cxr-comment { height: 72px; }
  .cxr-finding { height: 38px; }
}
@media (min-width: 1600px) { #cxr-root { grid-template-columns: 52px minmax(0, 1fr) 384px; } }
`;

export function adopt(): void {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}
