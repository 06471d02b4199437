import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Point } from '../src/geometry.ts';
import { distanceTo, ellipseAround, handles, moved, outline, reshape } from '../src/shapes.ts';
import type { Shape } from '../src/shapes.ts';

const RECTANGLE: Shape = { type: 'rectangle', points: [[10, 20], [30, 50]] }; // prettier-ignore
const ELLIPSE: Shape = { type: 'ellipse', points: ellipseAround([50, 40], [70, 50]) };

test('a corner dragged leaves the opposite one, past it too', () => {
  assert.deepEqual(handles(RECTANGLE), [[10, 20], [30, 20], [30, 50], [10, 50]]); // prettier-ignore
  const across = reshape(RECTANGLE, 0, [40, 60]);
  assert.deepEqual(handles(across), [[30, 50], [40, 50], [40, 60], [30, 60]]); // prettier-ignore
});

test("an ellipse's end moves along its axis, and its opposite mirrors it", () => {
  assert.deepEqual(ELLIPSE.points, [[50, 30], [50, 50], [30, 40], [70, 40]]); // prettier-ignore
  const higher = reshape(ELLIPSE, 0, [58, 20]); // sideways counts for nothing
  assert.deepEqual(higher.points, [[50, 20], [50, 60], [30, 40], [70, 40]]); // prettier-ignore
  const narrower = reshape(ELLIPSE, 3, [60, 90]);
  assert.deepEqual(narrower.points, [[50, 30], [50, 50], [40, 40], [60, 40]]); // prettier-ignore
});

test('an ellipse never folds up', () => {
  const flat = reshape(ELLIPSE, 1, [50, 40]);
  assert.ok(Math.abs(flat.points[1]![1] - flat.points[0]![1]) > 0);
});

test('every point of an ellipse lies on it', () => {
  for (const [x, y] of outline(ELLIPSE)) {
    assert.ok(Math.abs(((x - 50) / 20) ** 2 + ((y - 40) / 10) ** 2 - 1) < 1e-12);
  }
});

test('a vertex of a polygon, and an end of a length, go where they are dragged', () => {
  const ring: Shape = { type: 'polygon', points: [[0, 0], [9, 0], [9, 9]] }; // prettier-ignore
  assert.deepEqual(reshape(ring, 1, [12, 3]).points, [[0, 0], [12, 3], [9, 9]]); // prettier-ignore
  const line: Shape = { type: 'length', points: [[0, 0], [5, 5]] }; // prettier-ignore
  assert.deepEqual(reshape(line, 0, [1, 2]).points, [[1, 2], [5, 5]]); // prettier-ignore
});

test('moving keeps the form', () => {
  assert.deepEqual(moved(ELLIPSE, [-5, 2]).points, [[45, 32], [45, 52], [25, 42], [65, 42]]); // prettier-ignore
});

test('a line is near beside it, and a ring at the side that closes it', () => {
  const ring: Point[] = [[0, 0], [10, 0], [10, 10]]; // prettier-ignore
  assert.equal(distanceTo(ring, true, [5, -3]), 3);
  assert.ok(distanceTo(ring, true, [5, 5]) < 1e-12);
  assert.ok(distanceTo(ring, false, [5, 5]) > 4);
  assert.equal(distanceTo([[4, 3]], false, [0, 0]), 5); // prettier-ignore
});
