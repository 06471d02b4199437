/**
 * Commands on what is seen: tools, windows, help. None of them touches an answer.
 */

import type { Command } from './keys.ts';
import type { Room } from './reading.ts';
import type { Tool } from './rois.ts';
import { PRESETS } from './windows.ts';

/** Do a command; false if it is not about the view. */
export function view(command: Command, room: Omit<Room, 'submit'>): boolean {
  const { page, radiograph: image, rois } = room;
  switch (command) {
    case 'help':
      page.showKeys();
      return true;
    case 'cancel':
      if (image.ready && !rois.cancel()) rois.select(null);
      return true;
    case 'invert':
      if (image.ready) image.toggleInvert();
      return true;
    case 'reset':
      if (image.ready) image.reset();
      return true;
  }
  if (command.startsWith('tool-')) use(command.slice('tool-'.length) as Tool, room);
  else if (!command.startsWith('window-')) return false;
  else if (image.ready) image.usePreset(PRESETS[Number(command.slice('window-'.length)) - 1]!.name);
  return true;
}

/** Give a tool the left mouse button. */
export function use(tool: Tool, { page, rois }: Omit<Room, 'submit'>): void {
  rois.use(tool);
  page.showTool(tool);
}
