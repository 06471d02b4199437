/**
 * Which button of the mouse does what: commands.json as a job remapped it.
 */

import table from '../commands.json' with { type: 'json' };
import type { DrawTool } from './sketch.ts';

export type ViewTool = 'window' | 'pan' | 'zoom';
export type Tool = ViewTool | DrawTool | 'probe';
export type MouseButton = 'left' | 'middle' | 'right';

/** Button to tool; `tool` is the one chosen in the toolbar. */
export type Mouse = Readonly<Record<MouseButton, string>>;

/** The tools that a button can have. */
export const TOOLS = table.mouse.tools.filter((name) => name !== 'tool') as Tool[];

export const BUTTONS: readonly MouseButton[] = ['left', 'middle', 'right'];

export interface MouseWishes {
  /** the tools to show; null: all */
  readonly tools: readonly string[] | null;
  readonly mouse: Readonly<Record<string, string>>;
}

/** The buttons unless a job says otherwise. */
export const DEFAULT_MOUSE: Mouse = table.mouse.buttons;

/** The buttons of a job; a wish that names no tool is not met, and a note says so. */
export function mouseOf({ tools, mouse }: MouseWishes): { readonly mouse: Mouse; readonly notes: readonly string[] } {
  const notes: string[] = [];
  const buttons: Record<MouseButton, string> = { ...table.mouse.buttons };
  const known = (tool: string): boolean =>
    tool === 'tool' || (table.mouse.tools.includes(tool) && (tools === null || tools.includes(tool)));
  for (const [button, tool] of Object.entries(mouse)) {
    if (!BUTTONS.includes(button as MouseButton)) notes.push(`There is no mouse button "${button}"`);
    else if (!known(tool)) notes.push(`There is no tool "${tool}" for the ${button} button`);
    else buttons[button as MouseButton] = tool;
  }
  if (!Object.values(buttons).includes('tool')) {
    buttons.left = 'tool'; // or nothing could be drawn
    notes.push('No mouse button had the chosen tool: the left one has it');
  }
  return { mouse: buttons, notes };
}

/** What a tool draws: those that only look draw nothing. */
export function drawTool(tool: Tool): DrawTool | null {
  return tool === 'window' || tool === 'pan' || tool === 'zoom' || tool === 'probe' ? null : tool;
}
