import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adjust, fromCentreWidth, preset, toCentreWidth } from '../src/windows.ts';

test('centre and width go to a range and back as PS3.3 C.11.2.1.2.1 says', () => {
  assert.deepEqual(fromCentreWidth(2200, 3200, 'LINEAR'), { lower: 600, upper: 3799 });
  assert.deepEqual(toCentreWidth({ lower: 600, upper: 3799 }, 'LINEAR'), [2200, 3200]);
});

test('a preset shows the same part of the greys whichever way the values are stored', () => {
  const base = { lower: 100, upper: 1100 };
  const upright = preset('mediastinum', base, base, false);
  const inverted = preset('mediastinum', base, base, true);
  assert.equal(upright.upper, 1100); // bright, and so stored low where the values are inverted
  assert.equal(inverted.lower, 100);
  assert.equal(upright.upper - upright.lower, inverted.upper - inverted.lower);
});

test('a window never closes', () => {
  const narrow = adjust({ lower: 10, upper: 20 }, -500, 0);
  assert.ok(narrow.upper - narrow.lower >= 1);
});

test('LINEAR_EXACT and SIGMOID windows are not half a value off', () => {
  for (const exact of ['LINEAR_EXACT', 'SIGMOID'] as const) {
    assert.deepEqual(fromCentreWidth(2200, 3200, exact), { lower: 600, upper: 3800 });
    assert.deepEqual(toCentreWidth({ lower: 600, upper: 3800 }, exact), [2200, 3200]);
  }
});
