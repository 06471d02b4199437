/**
 * Commands on what is seen: tools, windows, the camera, help. None of them touches an answer.
 */

import type { Radiograph } from './image.ts';
import type { Command } from './keys.ts';
import type { Page } from './page.ts';
import { drawTool } from './mouse.ts';
import type { Tool } from './mouse.ts';
import type { Pointer } from './pointer.ts';
import type { Rois } from './rois.ts';
import type { PageSettings } from './task.ts';
import { PRESETS } from './windows.ts';

/** The parts of the page that show the image. */
export interface View {
  readonly page: Page;
  readonly radiograph: Radiograph;
  readonly rois: Rois;
  readonly pointer: Pointer;
}

/** CSS pixels that a key moves the image by. */
const STEP = 60;
/** What a key zooms by. */
const CLOSER = 1.25;
/** CSS pixels of dragging that a key stands for: 1/20 and 1/200 of the default window. */
const COARSE = 25.6;
const FINE = 2.56;

/** Right and down, in which a drag is wider and darker. */
const WAYS: Readonly<Record<string, readonly [number, number]>> = {
  wider: [1, 0], narrower: [-1, 0], brighter: [0, -1], darker: [0, 1],
  right: [1, 0], left: [-1, 0], up: [0, -1], down: [0, 1],
}; // prettier-ignore

type Act = (view: View) => unknown;

const ACTS: Partial<Record<Command, Act>> = {
  help: ({ page }) => page.showKeys(),
  skip: ({ page }) => page.showSkip(),
  instructions: ({ page }) => page.showGuide(),
  companions: ({ page }) => page.beside.toggle() || page.refuse('No other images of this patient'),
};

/** What a key comes to while there is no image to use it on. */
export const TOO_EARLY = 'The next image is not there yet: that key did nothing';

/** The same while the answer is on its way. */
export const STILL_SENT = 'The answer is being sent, and the next image is not there yet: that did nothing';

/** Commands that need an image. */
const IMAGE_ACTS: Partial<Record<Command, Act>> = {
  finish: ({ page, rois }) => {
    if (rois.sketch?.tool === 'polygon' && !rois.finish()) page.refuse('A polygon needs three points');
  },
  cancel: ({ page, rois }) => rois.cancel() || letGo(rois) || page.stage.blur(),
  overlays: ({ rois }) => rois.overlays(!rois.shown),
  'region-next': ({ rois }) => rois.select(rois.neighbour(1)),
  'region-previous': ({ rois }) => rois.select(rois.neighbour(-1)),
  invert: ({ radiograph }) => radiograph.toggleInvert(),
  reset: ({ radiograph }) => radiograph.reset(),
  fit: ({ radiograph }) => radiograph.fit(),
  'one-to-one': ({ radiograph }) => radiograph.oneToOne(),
  'rotate-right': ({ radiograph }) => radiograph.turn(1),
  'rotate-left': ({ radiograph }) => radiograph.turn(-1),
  'flip-h': ({ radiograph }) => radiograph.flip('h'),
  'flip-v': ({ radiograph }) => radiograph.flip('v'),
  'zoom-in': ({ radiograph }) => radiograph.zoom(CLOSER),
  'zoom-out': ({ radiograph }) => radiograph.zoom(1 / CLOSER),
};

/** Select nothing; false if nothing was selected. */
function letGo(rois: Rois): boolean {
  const held = rois.selected !== null;
  if (held) rois.select(null);
  return held;
}

/** Do a command; false if it is not about the view. */
export function view(command: Command, room: View, settings: PageSettings): boolean {
  const act = ACTS[command];
  if (act) return act(room), true;
  if (command.startsWith('tool-')) return use(command.slice('tool-'.length) as Tool, room), true;
  const onImage = IMAGE_ACTS[command] ?? dragging(command) ?? windowing(command, settings);
  if (!onImage) return false;
  if (room.radiograph.ready) onImage(room);
  else room.page.refuse(TOO_EARLY);
  return true;
}

/** Give a tool the button that is for the chosen one; a polygon that can be closed stays. */
export function use(tool: Tool, { page, pointer, rois, radiograph }: View): void {
  if (radiograph.ready && !rois.finish()) {
    const dropped = rois.sketch?.tool === 'polygon';
    rois.cancel();
    if (dropped) page.refuse('The polygon is dropped: it had no three points yet');
  }
  // or a window dragged across the region just drawn would move it
  if (radiograph.ready && drawTool(tool) === null) rois.select(null);
  pointer.tool = tool;
  page.showTool(tool);
}

/** Keys that stand for a drag of the mouse. */
function dragging(command: Command): Act | null {
  const [, what, way = '', fine] = /^(window|pan)-([a-z]+)(-fine)?$/.exec(command) ?? [];
  const towards = WAYS[way];
  if (what === undefined || towards === undefined) return null;
  const by = what === 'pan' ? STEP : fine === undefined ? COARSE : FINE;
  const [right, down] = [towards[0] * by, towards[1] * by];
  return ({ radiograph }) => (what === 'pan' ? radiograph.pan(right, down) : radiograph.dragWindow(right, down));
}

/** The shipped windows, then the job's own. */
function windowing(command: Command, { windows }: PageSettings): Act | null {
  const number = Number(/^window-(\d+)$/.exec(command)?.[1] ?? NaN);
  if (Number.isNaN(number)) return null;
  return ({ radiograph }) => showWindow(number - 1, radiograph, windows);
}

/** Args: index: among the shipped windows and then the job's own. */
export function showWindow(index: number, radiograph: Radiograph, own: PageSettings['windows']): void {
  const shipped = PRESETS[index];
  const ours = own[index - PRESETS.length];
  if (shipped) radiograph.usePreset(shipped.name);
  else if (ours) radiograph.useWindow(ours.center, ours.width);
}
