/**
 * Which key does what. One table, so that the help shows what is true and a job may remap later.
 */

export type Command =
  | 'finding-up' | 'finding-down' | 'present' | 'uncertain' | 'absent' | 'no-finding' | 'rest-absent'
  | 'window-1' | 'window-2' | 'window-3' | 'window-4' | 'window-5' | 'invert' | 'reset'
  | 'tool-window' | 'tool-zoom' | 'tool-pan' | 'tool-rectangle' | 'tool-ellipse' | 'tool-polygon'
  | 'cancel' | 'delete' | 'undo' | 'redo' | 'previous' | 'submit' | 'help'; // prettier-ignore

export interface Binding {
  /** `KeyboardEvent.key`, lower case */
  readonly key: string;
  readonly shift?: boolean;
  readonly ctrl?: boolean;
  readonly command: Command;
  readonly says: string;
}

/** The part of a KeyboardEvent that decides. */
export interface KeyPress {
  readonly key: string;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
}

export const BINDINGS: readonly Binding[] = [
  { key: 'arrowup', command: 'finding-up', says: 'Finding above' },
  { key: 'arrowdown', command: 'finding-down', says: 'Finding below' },
  { key: 'p', command: 'present', says: 'Present, then the next finding' },
  { key: 'u', command: 'uncertain', says: 'Uncertain, then the next finding' },
  { key: 'a', command: 'absent', says: 'Absent, then the next finding' },
  { key: 'n', command: 'no-finding', says: 'No Finding, the rest absent' },
  { key: 'a', shift: true, command: 'rest-absent', says: 'All still unanswered: absent' },
  { key: 'enter', ctrl: true, command: 'submit', says: 'Submit' },
  { key: '1', command: 'window-1', says: 'Window: default' },
  { key: '2', command: 'window-2', says: 'Window: lung' },
  { key: '3', command: 'window-3', says: 'Window: bone' },
  { key: '4', command: 'window-4', says: 'Window: mediastinum' },
  { key: '5', command: 'window-5', says: 'Window: full range' },
  { key: 'i', command: 'invert', says: 'Invert' },
  { key: 'r', command: 'reset', says: 'Reset the view' },
  { key: 'w', command: 'tool-window', says: 'Window/level tool' },
  { key: 'm', command: 'tool-pan', says: 'Pan tool (move)' },
  { key: 'z', command: 'tool-zoom', says: 'Zoom tool' },
  { key: 'b', command: 'tool-rectangle', says: 'Rectangle' },
  { key: 'e', command: 'tool-ellipse', says: 'Ellipse' },
  { key: 'g', command: 'tool-polygon', says: 'Polygon' },
  { key: 'escape', command: 'cancel', says: 'Cancel the drawing' },
  { key: 'delete', command: 'delete', says: 'Delete the selected region' },
  { key: 'z', ctrl: true, command: 'undo', says: 'Undo' },
  { key: 'z', ctrl: true, shift: true, command: 'redo', says: 'Redo' },
  { key: 'pageup', command: 'previous', says: 'The image before' },
  { key: '?', command: 'help', says: 'These keys' },
];

/**
 * Find what a key press asks for. A character that already needs Shift on some keyboard (`?`, or
 * digits on a French one) counts whatever Shift says; letters do not, so `a` and Shift+`a` differ.
 */
export function commandOf(press: KeyPress, bindings = BINDINGS): Command | null {
  if (press.altKey) return null;
  const key = press.key.toLowerCase();
  const letter = key.length === 1 && key !== key.toUpperCase();
  const found = bindings.find(
    (binding) =>
      binding.key === key &&
      (binding.ctrl ?? false) === (press.ctrlKey || press.metaKey) &&
      (!letter || (binding.shift ?? false) === press.shiftKey),
  );
  return found?.command ?? null;
}

/** How a binding is written on the screen. */
export function keyName(binding: Binding): string {
  const names: Readonly<Record<string, string>> = {
    arrowup: '↑', arrowdown: '↓', enter: 'Enter', escape: 'Esc', delete: 'Delete', pageup: 'PageUp',
  }; // prettier-ignore
  const name = names[binding.key] ?? binding.key.toUpperCase();
  return `${binding.ctrl ? 'Ctrl+' : ''}${binding.shift ? 'Shift+' : ''}${name}`;
}
