import assert from 'node:assert/strict';
import { test } from 'node:test';
import { History, Steps } from '../src/history.ts';

test('one goes back and forth, and the same state twice is one', () => {
  const history = new History({ n: 0 });
  assert.equal(history.undo(), null);
  assert.equal(history.record({ n: 0 }), false);
  assert.equal(history.record({ n: 1 }), true);
  history.record({ n: 2 });
  assert.deepEqual([history.undo(), history.undo(), history.undo()], [{ n: 1 }, { n: 0 }, null]);
  assert.deepEqual([history.redo(), history.redo(), history.redo()], [{ n: 1 }, { n: 2 }, null]);
});

test('what was undone is gone once something else is done', () => {
  const history = new History('a');
  history.record('b');
  history.undo();
  history.record('c');
  assert.equal(history.canRedo, false);
  assert.equal(history.undo(), 'a');
});

test('the oldest states are forgotten, the newest never', () => {
  const history = new History(0);
  for (let n = 1; n <= 500; n++) history.record(n);
  let [back, last] = [0, 500];
  for (let state = history.undo(); state !== null; state = history.undo()) [back, last] = [back + 1, state];
  assert.equal(back, 199);
  assert.equal(last, 301);
});

test('a drag is one step, and what was typed last is not lost to undo', () => {
  let now = 0;
  const steps = new Steps(() => now);
  steps.begin();
  steps.hold(true);
  for (now = 1; now < 9; now++) steps.remember();
  steps.hold(false);
  now = 20; // typed, and never said to be finished
  const back = (): number | null => {
    const state = steps.undo();
    now = state ?? now;
    return state;
  };
  assert.deepEqual([back(), back(), back()], [9, 0, null]);
});

test('undo knows where the reader was, and going elsewhere is no step', () => {
  let [now, at] = [0, 'first'];
  const steps = new Steps(() => now, () => at); // prettier-ignore
  steps.begin();
  at = 'second';
  steps.remember();
  now = 1;
  steps.remember();
  at = 'third'; // the next finding
  steps.remember();
  const go = (state: number | null): (number | string | null)[] => {
    if (state !== null) [now, at] = [state, steps.place];
    return [state, at];
  };
  assert.deepEqual(go(steps.undo()), [0, 'second']);
  assert.deepEqual(go(steps.redo()), [1, 'third']);
  assert.deepEqual(go(steps.undo()), [0, 'second']);
  assert.equal(steps.undo(), null);
});
