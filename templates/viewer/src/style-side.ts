/**
 * The looks of everything beside the image: findings, regions, comments, readers.
 */

export const SIDE = `
.cxr-panel { grid-area: panel; position: relative; width: calc(396px + var(--readers, 0) * 34px); display: flex; flex-direction: column; gap: 6px; min-height: 0;
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

#cxr-root .cxr-lower { flex: 1 1000 44px; min-height: 36px; overflow-y: auto; overflow-x: hidden; border-top: 1px solid #26292d;
  padding-top: 4px; }
#cxr-root .cxr-lower h2 { padding: 0 4px; font-size: 13px; line-height: 18px; color: var(--quiet); }
.cxr-more { position: absolute; right: 12px; z-index: 2; padding: 1px 9px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--raised); color: var(--text); font-size: 12px; line-height: 16px; pointer-events: none; }
.cxr-said li[data-skipped] { color: var(--amber); }
.cxr-panel[data-waiting] > :is(.cxr-head, .cxr-findings, .cxr-lower, .cxr-foot) { opacity: 0.5; transition: opacity 0s 0.1s; cursor: progress; }
.cxr-rois li, .cxr-said li { display: flex; align-items: center; }
.cxr-rois li[data-answer="present"] .cxr-name svg { color: var(--accent); }
.cxr-rois li[data-answer="uncertain"] .cxr-name svg { color: var(--amber); }
.cxr-rois li:is([data-answer="absent"], [data-answer="unanswered"]) .cxr-name { color: var(--wrong); }
.cxr-rois li:has([aria-current="true"]) { background: #23272c; border-radius: 5px; }
.cxr-rois li[data-hidden] .cxr-name { color: var(--quiet); text-decoration: line-through; }
#cxr-root .cxr-rois li [data-action] { flex: none; width: 32px; padding: 0;
  border-color: transparent; background: none; display: grid; place-items: center; color: var(--quiet); }
#cxr-root .cxr-rois li [data-action]:hover { color: var(--text); }
#cxr-root .cxr-rois [data-action="hide-roi"][aria-pressed="true"] { color: var(--amber); }
#cxr-root .cxr-rois svg { flex: none; width: 17px; height: 17px; }
.cxr-measure { margin-left: auto; padding-left: 8px; font-size: 12px; color: var(--quiet); white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.cxr-bind { flex: none; }
.cxr-menu { position: fixed; z-index: 4; display: grid; min-width: 180px; max-width: 340px; max-height: calc(100vh - 8px);
  overflow-y: auto; padding: 4px; border: 1px solid var(--line); border-radius: 6px; background: var(--raised);
  box-shadow: 0 6px 18px rgb(0 0 0 / 60%); }
#cxr-root .cxr-menu button { min-height: 30px; padding: 4px 10px 4px 26px; border-color: transparent; background: none;
  color: var(--text); text-align: left; overflow-wrap: anywhere; }
#cxr-root .cxr-menu button:is(:hover, :focus) { background: #2c333b; }
#cxr-root .cxr-menu [aria-checked="true"] { color: var(--accent); font-weight: 600; }
.cxr-menu [aria-checked="true"]::before { content: "✓"; position: absolute; left: 14px; }
#cxr-root :is(.cxr-rois, .cxr-said) .cxr-none { padding: 6px 4px; color: var(--quiet); font-size: 13px; }

.cxr-note-open { flex: none; }
#cxr-root .cxr-note-open { width: 32px; padding: 0; display: grid; place-items: center; border-color: transparent;
  background: none; color: #767e87; }
#cxr-root .cxr-note-open svg { width: 17px; height: 17px; }
#cxr-root .cxr-note-open:hover { color: var(--text); }
#cxr-root .cxr-note-open[data-filled] { color: var(--accent); }
#cxr-root .cxr-note-open[data-filled] svg { fill: #17324d; }
.cxr-note { position: absolute; left: 10px; right: 10px; z-index: 3; padding: 4px; border: 1px solid var(--line);
  border-radius: 6px; background: var(--raised); box-shadow: 0 6px 18px rgb(0 0 0 / 60%); }
#cxr-root .cxr-note input { width: 100%; background: var(--ground); cursor: text; }

.cxr-readers, .cxr-cells { display: flex; gap: 2px; flex: none; }
#cxr-root .cxr-readers button, #cxr-root .cxr-cells button { width: 32px; padding: 0; font-weight: 600; }
#cxr-root .cxr-readers button { background: none; border: 1px solid var(--line); color: var(--quiet); }
#cxr-root .cxr-readers button[aria-checked="true"] { color: #0b0d0f; background: var(--reader); border-color: var(--reader); }
#cxr-root .cxr-cells button { position: relative; border-color: transparent; background: none; color: var(--quiet); }
#cxr-root .cxr-cells button:not(:disabled):hover { border-color: var(--reader); }
#cxr-root .cxr-cells button:disabled { cursor: default; opacity: 1; }
#cxr-root .cxr-cells [data-state="present"] { color: var(--accent); }
#cxr-root .cxr-cells [data-state="uncertain"] { color: var(--amber); }
.cxr-cells [data-comment]::after { content: ""; position: absolute; right: 4px; top: 4px; width: 5px; height: 5px;
  border-radius: 50%; background: var(--reader); }
#cxr-root .cxr-finding[data-disputed] { background: #2b2413; }
#cxr-root .cxr-finding[data-disputed][data-answer="unanswered"] { box-shadow: inset 3px 0 var(--amber); }
#cxr-root .cxr-finding[data-disputed]:has([aria-current="true"]) { background: #3a3018; box-shadow: inset 3px 0 var(--accent); }
.cxr-finding:is([data-disputed], [data-asks]) .cxr-mark { color: var(--amber); }
.cxr-patient { flex: 1 1 0; align-self: start; z-index: 2; min-width: 100px; min-height: 43px; padding: 4px 6px; display: grid;
  align-content: center; white-space: normal; overflow-wrap: anywhere; line-height: 17px; }
.cxr-patient > span { overflow: hidden; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; }
.cxr-patient:is(:hover, :focus) { max-height: 60vh; overflow: auto; background: var(--ground); box-shadow: 0 8px 18px rgb(0 0 0 / 60%); }
.cxr-patient:is(:hover, :focus) > span { -webkit-line-clamp: none; }
#cxr-root .cxr-step { flex: none; width: 32px; height: 32px; display: grid; place-items: center; border: 1px solid var(--line);
  border-radius: 5px; background: var(--raised); color: var(--text); text-decoration: none; font-size: 18px; }
#cxr-root .cxr-step:hover { border-color: #7d858e; }
#cxr-root .cxr-step[aria-disabled="true"] { border-color: transparent; background: none; color: #767e87; }
.cxr-main { container: cxr-main / inline-size; }
@container cxr-main (max-width: 1000px) {
  .cxr-windows { column-gap: 3px; }
  #cxr-root .cxr-windows button { min-height: 28px; padding: 0 5px; font-size: 13px; }
  #cxr-root .cxr-presets kbd { margin-right: 3px; padding: 1px 2px; }
}
@container cxr-main (max-width: 740px) { #cxr-root .cxr-presets kbd { display: none; } }
.cxr-views { display: flex; min-width: 0; min-height: 0; }
.cxr-views > .cxr-view { flex: 1; min-width: 0; }
.cxr-beside { flex: 0 0 42%; min-width: 0; display: flex; flex-direction: column; border-left: 1px solid #26292d; background: #000; }
.cxr-tabs { display: flex; gap: 4px; min-width: 0; padding: 5px 8px; background: var(--ground); }
#cxr-root .cxr-tabs button { flex: 0 1 auto; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
#cxr-root .cxr-tabs [aria-pressed="true"] { border-color: var(--accent); color: var(--accent); background: #17324d; }
#cxr-root .cxr-tabs button { padding: 0 8px; font-size: 13px; }
.cxr-read-only { flex: 1; text-align: center; color: var(--amber); font-size: 12px; }
.cxr-beside-view { position: relative; flex: 1; min-height: 0; }
.cxr-beside-view canvas { position: absolute; inset: 0; width: 100%; height: 100%; touch-action: none; }
#cxr-root .cxr-beside-view canvas:focus-visible { outline-offset: -2px; }
.cxr-beside-state { position: absolute; inset: 0; display: grid; place-content: center; gap: 8px; padding: 16px; text-align: center;
  pointer-events: none; }
.cxr-beside-state p { margin: 0; max-width: 40ch; overflow-wrap: anywhere; }
.cxr-beside-state button { pointer-events: auto; justify-self: center; }
.cxr-beside-foot { display: flex; align-items: center; gap: 4px; padding: 5px 8px; background: var(--ground); }
#cxr-root .cxr-beside-foot button { min-width: 34px; display: grid; place-items: center; }
.cxr-beside-foot button:last-child { margin-left: auto; }
#cxr-root .cxr-header button[aria-expanded="true"] { border-color: var(--accent); color: var(--accent); background: #17324d; }
#cxr-root .cxr-header button[data-unread] { border-color: var(--accent); color: var(--accent); }

#cxr-root .cxr-guide { width: min(960px, 92vw); }
.cxr-examples { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px; }
.cxr-examples:empty { display: none; }
.cxr-examples figure { margin: 0; display: grid; gap: 6px; align-content: start; }
.cxr-examples img { width: 100%; max-height: 56vh; object-fit: contain; background: #000; border-radius: 4px; }
.cxr-examples figcaption { color: var(--quiet); font-size: 13px; overflow-wrap: anywhere; }
.cxr-said { border-bottom: 1px solid #26292d; }
.cxr-said li { min-height: 32px; gap: 8px; padding: 0 4px; }
.cxr-said li span { flex: 1; min-width: 0; overflow-wrap: anywhere; }
#cxr-root .cxr-said button { display: flex; align-items: center; gap: 4px; padding: 0 8px; font-size: 13px; }
#cxr-root .cxr-said svg { width: 15px; height: 15px; }
#cxr-root .cxr-comment { flex: none; height: 34px; padding: 7px 10px; resize: none; cursor: text; }
.cxr-foot { display: grid; }
#cxr-root .cxr-foot crowd-button, #cxr-root .cxr-primary { min-height: 38px; display: grid; place-items: center;
  background: var(--accent); border-color: var(--accent); color: #06121f; font-weight: 650; text-align: center; }
#cxr-root .cxr-foot crowd-button[disabled] { opacity: 0.55; cursor: progress; }
@media (forced-colors: active) {
  #cxr-root :is([aria-checked="true"], [aria-pressed="true"]), .cxr-finding:has([aria-current="true"]) { forced-color-adjust: none; }
}
@media (max-height: 799px) {
  .cxr-panel { gap: 4px; padding-bottom: 8px; }
  .cxr-finding { height: 30px; }
  #cxr-root .cxr-findings .cxr-name { padding: 0 9px; border: 0; }
  #cxr-root :is(.cxr-finding, .cxr-lower) :is(button, select) { min-height: 30px; }
  .cxr-bind { height: 30px; }
  #cxr-root .cxr-lower { min-height: 82px; padding-top: 2px; }
  #cxr-root .cxr-head button { min-height: 28px; }
}
@media (min-height: 900px) {
  #cxr-root .cxr-comment { height: 72px; }
  .cxr-finding { height: 38px; }
}
`;
