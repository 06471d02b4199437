import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adjust, fromCentreWidth, percentiles, preset, toCentreWidth } from '../src/windows.ts';

test('centre and width go to a range and back as PS3.3 C.11.2.1.2.1 says', () => {
  assert.deepEqual(fromCentreWidth(2200, 3200), { lower: 600, upper: 3799 });
  assert.deepEqual(toCentreWidth({ lower: 600, upper: 3799 }), [2200, 3200]);
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

test('the full range leaves out stray values and holds for a flat image', () => {
  const values = Uint16Array.from({ length: 10_000 }, (_, i) => (i < 20 ? 65_535 : i % 1000));
  const { lower, upper } = percentiles(values);
  assert.ok(lower < 20 && upper > 980 && upper < 1000);
  assert.deepEqual(percentiles(new Uint8Array(9).fill(7)), { lower: 7, upper: 8 });
});
