/**
 * The looks of the tools, of what lies over the image, and of the table of keys.
 */

export const STAGE = `
.cxr-toolbar { grid-area: tools; display: grid; grid-template-columns: 36px 36px; align-content: start; gap: 3px 2px;
  padding: 6px 4px; overflow-y: auto; }
.cxr-toolbar hr { grid-column: 1 / -1; width: 100%; margin: 3px 0; border: 0; border-top: 1px solid #2c3035; }
#cxr-root .cxr-toolbar button { height: 36px; padding: 0; border-color: transparent; background: none;
  display: grid; place-items: center; }
#cxr-root .cxr-toolbar button:hover { background: var(--raised); }
#cxr-root .cxr-toolbar button[aria-pressed="true"] { background: #17324d; border-color: var(--accent);
  color: var(--accent); }
#cxr-root .cxr-toolbar [data-action^="flip"][aria-pressed="true"] { background: #46360f; border-color: var(--amber);
  color: var(--amber); }

.cxr-stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
.cxr-stage { position: absolute; inset: 0; user-select: none; touch-action: none; cursor: default !important; }
.cxr-stage[data-active-tool="pan"] { cursor: grab !important; }
.cxr-stage[data-active-tool="zoom"] { cursor: zoom-in !important; }
.cxr-stage:is([data-active-tool="rectangle"], [data-active-tool="ellipse"], [data-active-tool="polygon"],
  [data-active-tool="freehand"], [data-active-tool="length"], [data-active-tool="probe"]) { cursor: crosshair !important; }
.cxr-stage[data-over="line"] { cursor: move !important; }
.cxr-stage[data-over="handle"] { cursor: pointer !important; }
#cxr-root .cxr-regions { position: absolute; inset: 0; z-index: 1; width: 100%; height: 100%; overflow: hidden;
  pointer-events: none; }
.cxr-regions path { stroke-width: 2; }
.cxr-regions .cxr-halo { stroke: rgb(0 0 0 / 55%); stroke-width: 4; }
.cxr-regions circle { fill: #111; stroke-width: 1.5; }

.cxr-crosshair { position: absolute; left: 0; top: 0; z-index: 2; pointer-events: none; }
.cxr-crosshair::before, .cxr-crosshair::after { content: ""; position: absolute; background: #fff; box-shadow: 0 0 0 1px #000; }
.cxr-crosshair::before { left: -14px; top: -0.5px; width: 28px; height: 1px; }
.cxr-crosshair::after { left: -0.5px; top: -14px; width: 1px; height: 28px; }

.cxr-overlay { position: absolute; inset: 0; overflow: hidden; pointer-events: none; }
:is(.cxr-edge, .cxr-beside-edge) { position: absolute; pointer-events: none; font-size: 17px; font-weight: 600; line-height: 20px; color: #d9dde2;
  text-shadow: 0 0 3px #000, 0 0 3px #000; }
:is(.cxr-edge, .cxr-beside-edge)[data-edge="left"] { left: 8px; top: calc(50% - 10px); }
:is(.cxr-edge, .cxr-beside-edge)[data-edge="right"] { right: 8px; top: calc(50% - 10px); }
:is(.cxr-edge, .cxr-beside-edge)[data-edge="top"] { top: 6px; left: 50%; transform: translateX(-50%); }
:is(.cxr-edge, .cxr-beside-edge)[data-edge="bottom"] { bottom: 6px; left: 50%; transform: translateX(-50%); }
.cxr-flipped { position: absolute; top: 8px; right: 8px; padding: 2px 8px; border-radius: 4px; background: var(--amber);
  color: #1a1300; font-weight: 700; letter-spacing: 0.06em; }
.cxr-hidden { position: absolute; top: 40px; right: 8px; padding: 2px 8px; border-radius: 4px; font-size: 13px;
  background: rgb(20 22 24 / 90%); color: var(--amber); }
.cxr-hint { position: absolute; left: 50%; top: 32px; transform: translateX(-50%); padding: 2px 8px; border-radius: 4px;
  font-size: 13px; background: rgb(20 22 24 / 90%); color: var(--text); white-space: nowrap; }
.cxr-hint:empty { display: none; }
.cxr-probe { position: absolute; left: 0; top: 0; padding: 2px 8px; border-radius: 4px; white-space: pre; font-size: 13px;
  background: rgb(20 22 24 / 90%); color: var(--text); font-variant-numeric: tabular-nums; }

.cxr-presets { display: flex; align-items: center; gap: 4px; padding: 0 8px; white-space: nowrap;
  border-top: 1px solid #26292d; min-width: 0; }
.cxr-windows { flex: 1 1 0; display: flex; flex-wrap: wrap; gap: 4px; min-width: 0; padding: 4px 0; }
#cxr-root .cxr-windows button { max-width: 100%; padding: 0 8px; overflow: hidden; text-overflow: ellipsis; }
#cxr-root .cxr-windows [aria-pressed="true"] { background: #17324d; border-color: var(--accent); color: var(--accent); }
#cxr-root .cxr-windows [aria-pressed="true"] kbd { color: inherit; }
.cxr-notes { flex: 0 0 150px; min-width: 0; overflow: hidden; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
  white-space: normal; overflow-wrap: anywhere; padding: 0 6px; color: var(--amber); font-size: 12px; line-height: 16px; }
.cxr-readout { flex: none; min-width: 168px; text-align: right; white-space: pre; color: var(--quiet); font-variant-numeric: tabular-nums; font-size: 13px; }

#cxr-root .cxr-dialog:has(.cxr-key-columns) { width: min(1120px, 96vw); max-height: 94vh; }
.cxr-key-columns { columns: 3; column-gap: 24px; margin-bottom: 10px; }
.cxr-key-columns section { padding-bottom: 8px; }
.cxr-key-columns h3 { margin: 0 0 4px; padding-left: 108px; break-after: avoid; font-size: 13px; color: var(--quiet); font-weight: 600; }
.cxr-keys { margin: 0; }
.cxr-keys div { display: flex; align-items: center; gap: 12px; min-height: 20px; break-inside: avoid; }
.cxr-keys dt { flex: none; min-width: 96px; text-align: right; }
.cxr-keys dd { margin: 0; font-size: 13px; }
#cxr-root .cxr-keys kbd { color: var(--text); }
#cxr-root .cxr-text.cxr-warning { color: var(--amber); }
`;
