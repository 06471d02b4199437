/**
 * The table of keys, which shows what is really bound, and what the mouse does.
 */

import { h } from './dom.ts';
import { keyName, keyOf } from './keys.ts';
import type { Binding, Command } from './keys.ts';
import type { Mouse } from './mouse.ts';
import type { PageSettings } from './task.ts';
import { FEWEST } from './sketch.ts';
import type { Sketch } from './sketch.ts';
import { PRESETS } from './windows.ts';

const REGIONS: readonly Command[] = [
  'finish', 'cancel', 'delete', 'rebind', 'region-next', 'region-previous', 'overlays', 'undo', 'redo',
]; // prettier-ignore

/** Args: bindings: as the job has them; notes: wishes of the job that could not be met. */
export function keyTable(
  bindings: readonly Binding[],
  mouse: Mouse,
  settings: PageSettings,
  notes: readonly string[],
): HTMLElement {
  const groups: Readonly<Record<string, Binding[]>> = { Answers: [], 'Tools and regions': [], Windows: [], View: [] };
  for (const binding of bindings) {
    const says = saysOf(binding, settings);
    if (says !== '') groups[groupOf(binding)]?.push({ ...binding, says });
  }
  const columns = Object.entries(groups).map(([title, rows]) =>
    h('section', {}, h('h3', {}, title), h('dl', { class: 'cxr-keys' }, ...rows.map(row))),
  );
  return h(
    'div',
    {},
    h('div', { class: 'cxr-key-columns' }, ...columns),
    h('p', { class: 'cxr-text' }, mouseSays(mouse)),
    ...notes.map((note) => h('p', { class: 'cxr-text cxr-warning' }, `This job's settings: ${note}`)),
  );
}

function row({ key, says }: Binding): HTMLElement {
  return h('div', {}, h('dt', {}, h('kbd', {}, keyName(key))), h('dd', {}, says));
}

function groupOf({ command, tool }: Binding): string {
  if (command.startsWith('tool-') || REGIONS.includes(command)) return 'Tools and regions';
  return tool === undefined ? 'Answers' : tool === 'window' ? 'Windows' : 'View';
}

/** A job's own window is called by its name; a key for one that there is not does nothing. */
function saysOf({ command, says }: Binding, { windows }: PageSettings): string {
  const number = Number(/^window-(\d+)$/.exec(command)?.[1] ?? 0);
  if (number <= PRESETS.length) return says;
  const own = windows[number - 1 - PRESETS.length];
  return own ? `Window: ${own.name}` : '';
}

/** What to say while this is drawn; Args: byKeys: with the crosshair, whose button is Enter. */
export function drawingHint(sketch: Sketch | null, bindings: readonly Binding[], byKeys: boolean): string {
  if (sketch?.tool !== 'polygon') return '';
  if (sketch.vertices < FEWEST) return byKeys ? 'Polygon: Enter sets a corner' : 'Polygon: click each corner';
  const key = keyOf('finish', bindings);
  const first = 'its first corner';
  if (byKeys) return `To close the polygon: Enter twice, or on ${first}`;
  return `To close the polygon: ${key === '' ? '' : `${key}, `}a double click, or ${first}`;
}

function mouseSays(mouse: Mouse): string {
  const does = (tool: string): string => (tool === 'tool' ? 'the chosen tool' : tool);
  const buttons = Object.entries(mouse).map(([name, tool]) => `${name} button: ${does(tool)}`);
  const keyboard = 'With the image focused (Tab), arrows move a crosshair and Enter is its button.';
  return `Mouse: ${buttons.join(', ')}, wheel: zoom. ${keyboard}`;
}
