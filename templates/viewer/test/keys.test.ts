import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bind, BINDINGS, commandOf, keyName, TOOL_NAMES } from '../src/keys.ts';
import type { KeyPress } from '../src/keys.ts';

function press(key: string, held: Partial<KeyPress> = {}): KeyPress {
  return { key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...held };
}

/** The press of a key written as in commands.json. */
function pressed(text: string): KeyPress {
  const [key = '', ...held] = text === '+' ? ['+'] : text.split('+').reverse();
  return press(key === 'space' ? ' ' : key, {
    shiftKey: held.includes('shift'), ctrlKey: held.includes('ctrl'), altKey: held.includes('alt'),
  }); // prettier-ignore
}

test('every command has a key of its own, which finds it', () => {
  for (const { command, key } of BINDINGS) assert.equal(commandOf(pressed(key)), command);
  assert.equal(new Set(BINDINGS.map(({ key }) => keyName(key))).size, BINDINGS.length);
});

test('a and Shift+a differ, with caps lock too', () => {
  assert.equal(commandOf(press('a')), 'absent');
  assert.equal(commandOf(press('A')), 'absent');
  assert.equal(commandOf(press('A', { shiftKey: true })), 'rest-absent');
});

test("the browser's own shortcuts stay the browser's", () => {
  assert.equal(commandOf(press('r', { ctrlKey: true })), null);
  assert.equal(commandOf(press('1', { altKey: true })), null);
  assert.equal(commandOf(press('ArrowLeft', { altKey: true, ctrlKey: true })), null);
  assert.equal(commandOf(press('w', { metaKey: true })), null);
  assert.equal(commandOf(press('Enter', { metaKey: true })), 'submit');
});

test('characters that need Shift on some keyboards count either way', () => {
  assert.equal(commandOf(press('?', { shiftKey: true })), 'help');
  assert.equal(commandOf(press('1', { shiftKey: true })), 'window-1');
});

test('a job gives a command another key, and the old one is free', () => {
  const { bindings, notes } = bind({ tools: null, keys: { present: 'j', submit: 'Space', 'tool-length': 'ctrl+shift+l' } });
  const find = (key: string): string | null => commandOf(pressed(key), bindings);
  assert.deepEqual(['j', 'p', 'space', 'ctrl+enter', 'ctrl+shift+l', 'l'].map(find),
    ['present', null, 'submit', null, 'tool-length', null]); // prettier-ignore
  assert.deepEqual(notes, []);
});

test('two commands may swap their keys', () => {
  const { bindings, notes } = bind({ tools: null, keys: { present: 'a', absent: 'p' } });
  assert.equal(commandOf(press('a'), bindings), 'present');
  assert.equal(commandOf(press('p'), bindings), 'absent');
  assert.deepEqual(notes, []);
});

test('a wish that clashes, names no key or no command is said, never met in silence', () => {
  const { bindings, notes } = bind({ tools: null, keys: { present: 'a', undo: 'hyper+q', fly: 'f9', help: 'shift+?' } });
  assert.equal(commandOf(press('a'), bindings), 'present');
  assert.equal(bindings.find(({ command }) => command === 'absent'), undefined);
  assert.equal(commandOf(pressed('ctrl+z'), bindings), 'undo');
  assert.equal(commandOf(press('?', { shiftKey: true }), bindings), 'help');
  assert.deepEqual(notes, [
    '"hyper+q" is no key: undo keeps Ctrl+Z', 'There is no command "fly"', 'A is present: absent has no key',
  ]); // prettier-ignore
});

test('a tool that is not shown has no keys', () => {
  const { bindings } = bind({ tools: ['window', 'rectangle'], keys: { 'tool-zoom': 'f9' } });
  assert.equal(commandOf(press('z'), bindings), null);
  assert.equal(commandOf(press('F9'), bindings), null);
  assert.equal(commandOf(press('b'), bindings), 'tool-rectangle');
  assert.equal(commandOf(press('p'), bindings), 'present');
});

test('every tool of a command is a tool of the toolbar', () => {
  for (const { tool } of BINDINGS) if (tool !== undefined) assert.ok(TOOL_NAMES.includes(tool), tool);
});
