/**
 * The tools at the left, and the windows below the image, as the job wants them.
 */

import { button, h, icon } from './dom.ts';
import { ICONS } from './icons.ts';
import type { Shown } from './image.ts';
import { keyName } from './keys.ts';
import type { Binding, Command } from './keys.ts';
import type { Tool } from './mouse.ts';
import type { PageSettings } from './task.ts';
import { called, PRESETS } from './windows.ts';

/** Icon and command of each button; a group begins where a name is new. */
const BUTTONS: readonly (readonly [keyof typeof ICONS, Command, string])[] = [
  ['window', 'tool-window', 'view'],
  ['pan', 'tool-pan', 'view'],
  ['zoom', 'tool-zoom', 'view'],
  ['probe', 'tool-probe', 'view'],
  ['rectangle', 'tool-rectangle', 'draw'],
  ['ellipse', 'tool-ellipse', 'draw'],
  ['polygon', 'tool-polygon', 'draw'],
  ['freehand', 'tool-freehand', 'draw'],
  ['length', 'tool-length', 'draw'],
  ['eye', 'overlays', 'draw'],
  ['undo', 'undo', 'undo'],
  ['redo', 'redo', 'undo'],
  ['rotate-left', 'rotate-left', 'camera'],
  ['rotate-right', 'rotate-right', 'camera'],
  ['flip-h', 'flip-h', 'camera'],
  ['flip-v', 'flip-v', 'camera'],
  ['fit', 'fit', 'camera'],
  ['one-to-one', 'one-to-one', 'camera'],
  ['invert', 'invert', 'grey'],
  ['reset', 'reset', 'grey'],
];
/** Buttons that stay pressed. */
const TOGGLES: readonly Command[] = ['invert', 'overlays', 'flip-h', 'flip-v'];

export class Toolbar {
  readonly element = h('div', { class: 'cxr-toolbar', role: 'toolbar', 'aria-label': 'Tools' });
  readonly #buttons = new Map<string, HTMLButtonElement>();

  constructor() {
    this.element.setAttribute('aria-orientation', 'vertical');
  }

  /** Args: bindings: of the commands there are. */
  equip(bindings: readonly Binding[], run: (command: Command) => void): void {
    this.#buttons.clear();
    this.element.replaceChildren();
    let before = '';
    for (const [name, command, group] of BUTTONS) {
      const binding = bindings.find((one) => one.command === command);
      if (!binding) continue;
      const label = `${binding.says} (${keyName(binding.key)})`;
      const kind = command.startsWith('tool-') ? 'data-tool' : 'data-action';
      const pressed = kind === 'data-tool' || TOGGLES.includes(command) ? 'false' : undefined;
      const called = kind === 'data-tool' ? name : command;
      const attributes = { [kind]: called, 'aria-label': label, title: label, 'aria-pressed': pressed };
      const made = button(attributes, () => run(command), icon(ICONS[name]));
      if (before !== '' && before !== group) this.element.append(h('hr'));
      before = group;
      this.#buttons.set(called, made);
      this.element.append(made);
    }
  }

  showTool(tool: Tool): void {
    for (const [name, made] of this.#buttons) {
      if (made.dataset['tool'] !== undefined) this.#press(name, name === tool);
    }
  }

  /** Args: overlays: whether regions are shown. */
  showState({ inverted, flipH, flipV }: Shown, overlays: boolean): void {
    this.#press('invert', inverted);
    this.#press('flip-h', flipH);
    this.#press('flip-v', flipV);
    this.#press('overlays', overlays);
  }

  #press(name: string, pressed: boolean): void {
    this.#buttons.get(name)?.setAttribute('aria-pressed', String(pressed));
  }
}

/** Buttons for the shipped windows and the job's own; Args: show: by index, shipped ones first. */
export function windowButtons(
  { tools, windows }: PageSettings,
  bindings: readonly Binding[],
  show: (index: number) => void,
): HTMLButtonElement[] {
  if (tools !== null && !tools.includes('window')) return [];
  const shipped = PRESETS.map(({ name, text }) => ({
    attributes: { 'data-preset': name, 'data-shows': name, title: `Window: ${text}` },
    text,
  }));
  const own = windows.map(({ name, center, width }) => ({
    attributes: { 'data-window': name, 'data-shows': called(center, width), title: `${name}: W ${width} L ${center}` },
    text: name,
  }));
  return [...shipped, ...own].map(({ attributes, text }, i) => {
    const key = bindings.find(({ command }) => command === `window-${i + 1}`)?.key;
    const hint = key === undefined ? [] : [h('kbd', {}, keyName(key))];
    const title = key === undefined ? attributes.title : `${attributes.title} (${keyName(key)})`;
    return button({ ...attributes, title, 'aria-pressed': 'false' }, () => show(i), ...hint, h('span', {}, text));
  });
}
