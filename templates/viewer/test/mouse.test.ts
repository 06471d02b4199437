import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mouseOf } from '../src/mouse.ts';

test('a job gives the buttons other tools', () => {
  const { mouse, notes } = mouseOf({ tools: null, mouse: { left: 'window', right: 'tool' } });
  assert.deepEqual(mouse, { left: 'window', middle: 'pan', right: 'tool' });
  assert.deepEqual(notes, []);
});

test('wishes for buttons and tools that there are not are said', () => {
  const { mouse, notes } = mouseOf({ tools: ['pan', 'window'], mouse: { thumb: 'pan', right: 'polygon', middle: 'fly' } });
  assert.deepEqual(mouse, { left: 'tool', middle: 'pan', right: 'zoom' });
  assert.equal(notes.length, 3);
});

test('there is always a button for the chosen tool', () => {
  const { mouse, notes } = mouseOf({ tools: null, mouse: { left: 'pan' } });
  assert.equal(mouse.left, 'tool');
  assert.match(notes[0]!, /left one/);
});
