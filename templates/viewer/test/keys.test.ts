import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BINDINGS, commandOf, keyName } from '../src/keys.ts';
import type { KeyPress } from '../src/keys.ts';

function press(key: string, held: Partial<KeyPress> = {}): KeyPress {
  return { key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...held };
}

test('every binding is found by its own key, and no two share one', () => {
  for (const binding of BINDINGS) {
    const held = { shiftKey: binding.shift ?? false, ctrlKey: binding.ctrl ?? false };
    assert.equal(commandOf(press(binding.key, held)), binding.command);
  }
  assert.equal(new Set(BINDINGS.map(keyName)).size, BINDINGS.length);
});

test('a and Shift+a differ, with caps lock too', () => {
  assert.equal(commandOf(press('a')), 'absent');
  assert.equal(commandOf(press('A')), 'absent');
  assert.equal(commandOf(press('A', { shiftKey: true })), 'rest-absent');
});

test("the browser's own shortcuts stay the browser's", () => {
  assert.equal(commandOf(press('r', { ctrlKey: true })), null);
  assert.equal(commandOf(press('1', { altKey: true })), null);
  assert.equal(commandOf(press('w', { metaKey: true })), null);
  assert.equal(commandOf(press('Enter', { metaKey: true })), 'submit');
});

test('characters that need Shift on some keyboards count either way', () => {
  assert.equal(commandOf(press('?', { shiftKey: true })), 'help');
  assert.equal(commandOf(press('1', { shiftKey: true })), 'window-1');
});
