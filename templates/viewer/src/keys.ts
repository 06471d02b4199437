/**
 * Which key does what: commands.json as a job remapped it. One table, so that the help shows what
 * is true. The Python side checks a job's keys against the same file.
 */

import table from '../commands.json' with { type: 'json' };

export type Command = keyof typeof table.commands;

/** A command as commands.json says it. */
interface Entry {
  readonly key: string;
  readonly says: string;
  /** the tool it belongs to; a job that does not show the tool has no such key */
  readonly tool?: string;
}

export interface Binding extends Entry {
  readonly command: Command;
}

/** The part of a KeyboardEvent that decides. */
export interface KeyPress {
  readonly key: string;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
}

/** What a job asks of the keys. */
export interface KeyWishes {
  /** the tools to show; null: all */
  readonly tools: readonly string[] | null;
  /** command to key, such as "shift+a", "ctrl+enter" or "space" */
  readonly keys: Readonly<Record<string, string>>;
}

export interface Keys {
  readonly bindings: readonly Binding[];
  /** wishes that could not be met, for the reader to know */
  readonly notes: readonly string[];
}

interface Chord {
  readonly key: string;
  readonly ctrl: boolean;
  readonly alt: boolean;
  readonly shift: boolean;
}

const COMMANDS = Object.entries(table.commands) as [Command, Entry][];

/** Every command with the key it has unless a job says otherwise. */
export const BINDINGS: readonly Binding[] = COMMANDS.map(([command, entry]) => ({ command, ...entry }));

/** The names commands.json knows for the tools, in the order of the toolbar. */
export const TOOL_NAMES: readonly string[] = table.tools;

/**
 * The keys of a job. A wish that is no key, names no command, or takes the key of another command
 * is not met, and a note says so: two commands never share a key.
 */
export function bind({ tools, keys }: KeyWishes): Keys {
  const notes: string[] = [];
  const shown = BINDINGS.filter(({ tool }) => tool === undefined || tools === null || tools.includes(tool));
  const wished = new Map<Command, string>();
  for (const [command, key] of Object.entries(keys)) {
    const known = BINDINGS.find((binding) => binding.command === command);
    if (!known) notes.push(`There is no command "${command}"`);
    else if (parse(key) === null) notes.push(`"${key}" is no key: ${command} keeps ${keyName(known.key)}`);
    else if (shown.includes(known)) wished.set(known.command, key.toLowerCase());
  }
  const taken = new Map<string, Command>();
  const bindings: Binding[] = [];
  // wishes first: a default that stands in a wish's way is the one to lose its key
  for (const binding of [...shown].sort((a, b) => Number(wished.has(b.command)) - Number(wished.has(a.command)))) {
    const key = wished.get(binding.command) ?? binding.key;
    const holder = taken.get(place(key));
    if (holder === undefined) {
      taken.set(place(key), binding.command);
      bindings.push({ ...binding, key });
    } else notes.push(`${keyName(key)} is ${holder}: ${binding.command} has no key`);
  }
  const order = (binding: Binding): number => COMMANDS.findIndex(([command]) => command === binding.command);
  return { bindings: bindings.sort((a, b) => order(a) - order(b)), notes };
}

/** Keys that other programs taught, where nothing else is bound to them. */
const ALSO: readonly (readonly [string, Command])[] = [['ctrl+y', 'redo']];

/**
 * Find what a key press asks for. A character that already needs Shift on some keyboard (`?`, or
 * digits on a French one) counts whatever Shift says; letters do not, so `a` and Shift+`a` differ.
 */
export function commandOf(press: KeyPress, bindings: readonly Binding[] = BINDINGS): Command | null {
  const key = press.key === ' ' ? 'space' : press.key.toLowerCase();
  const held: Chord = {
    key, ctrl: press.ctrlKey || press.metaKey, alt: press.altKey, shift: press.shiftKey,
  }; // prettier-ignore
  const bound = bindings.find((binding) => same(parse(binding.key), held))?.command;
  const also = ALSO.find(([other, command]) => same(parse(other), held) && bindings.some((b) => b.command === command));
  return bound ?? also?.[1] ?? null;
}

/** How a key is written on the screen. */
export function keyName(key: string): string {
  const chord = parse(key);
  if (chord === null) return key;
  const names: Readonly<Record<string, string>> = {
    arrowup: '↑', arrowdown: '↓', arrowleft: '←', arrowright: '→', enter: 'Enter', escape: 'Esc',
    delete: 'Delete', backspace: 'Backspace', space: 'Space', home: 'Home', end: 'End',
    pageup: 'Page up', pagedown: 'Page down', insert: 'Insert',
  }; // prettier-ignore
  const { ctrl, alt, shift } = chord;
  const held = `${ctrl ? 'Ctrl+' : ''}${alt ? 'Alt+' : ''}${shift ? 'Shift+' : ''}`;
  return held + (names[chord.key] ?? chord.key.toUpperCase());
}

/** How the key of a command is written; empty if it has none. */
export function keyOf(command: Command, bindings: readonly Binding[]): string {
  const bound = bindings.find((binding) => binding.command === command);
  return bound === undefined ? '' : keyName(bound.key);
}

/** What something is and the key for it, as its tooltip says: "Present (P)". */
export function withKey(says: string, command: Command, bindings: readonly Binding[]): string {
  const key = keyOf(command, bindings);
  return key === '' ? says : `${says} (${key})`;
}

/** Read "ctrl+shift+z"; null if it names no key. "+" itself is a key. */
function parse(text: string): Chord | null {
  const lower = text.toLowerCase();
  const [, held = '', key = ''] = /^((?:(?:ctrl|alt|shift)\+)*)(.+)$/su.exec(lower) ?? [];
  if ([...key].length !== 1 && !table.keys.named.includes(key)) return null;
  if (key === ' ') return null; // written "space"
  const holds = (name: string): boolean => held.split('+').includes(name);
  return { key, ctrl: holds('ctrl'), alt: holds('alt'), shift: holds('shift') };
}

function same(bound: Chord | null, held: Chord): boolean {
  return bound !== null && bound.key === held.key && bound.ctrl === held.ctrl && bound.alt === held.alt
    && (!minds(bound.key) || bound.shift === held.shift); // prettier-ignore
}

/** Where a key lies: two that `commandOf` cannot tell apart lie in one place. */
function place(key: string): string {
  const chord = parse(key);
  if (chord === null) return key;
  return `${chord.ctrl}${chord.alt}${minds(chord.key) && chord.shift} ${chord.key}`;
}

/** Whether Shift makes another key of it. */
function minds(key: string): boolean {
  return [...key].length > 1 || key !== key.toUpperCase();
}
