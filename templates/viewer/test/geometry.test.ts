import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  clampToImage, corners, displaySpacing, distance, ellipseAxes, round, simplify,
} from '../src/geometry.ts'; // prettier-ignore
import type { Point } from '../src/geometry.ts';

test('a rectangle is its two outermost corners whatever way it was drawn', () => {
  const drawn: Point[] = [[9, 2], [3, 2], [9, 8], [3, 8]]; // prettier-ignore
  assert.deepEqual(corners(drawn), [[3, 2], [9, 8]]); // prettier-ignore
});

test('ellipse ends are the major axis, then the minor, each left to right or top to bottom', () => {
  const upright = ellipseAxes([[5, 12], [5, 0]], [[8, 6], [2, 6]]); // prettier-ignore
  assert.deepEqual(upright.map(round), [[5, 0], [5, 12], [2, 6], [8, 6]]); // prettier-ignore
  const lying = ellipseAxes([[5, 8], [5, 4]], [[0, 6], [10, 6]]); // prettier-ignore
  assert.deepEqual(lying.map(round), [[0, 6], [10, 6], [5, 4], [5, 8]]); // prettier-ignore
});

test('conjugate diameters give the axes of the same ellipse', () => {
  const u: Point = [5, 1];
  const v: Point = [-1, 3];
  const [a, b, c, d] = ellipseAxes([[-5, -1], u], [[1, -3], v]) as [Point, Point, Point, Point];
  const [major, minor] = [distance(a, b) / 2, distance(c, d) / 2];
  const area = Math.abs(u[0] * v[1] - u[1] * v[0]);
  const squares = 5 * 5 + 1 + 1 + 3 * 3;
  assert.ok(major >= minor);
  assert.ok(Math.abs(major * minor - area) < 1e-9); // Apollonius: same area,
  assert.ok(Math.abs(major ** 2 + minor ** 2 - squares) < 1e-9); // same sum of squares
  assert.ok(Math.abs((b[0] - a[0]) * (d[0] - c[0]) + (b[1] - a[1]) * (d[1] - c[1])) < 1e-9);
});

test('a circle has two axes of one length', () => {
  const [a, b, c, d] = ellipseAxes([[0, 5], [10, 5]], [[5, 0], [5, 10]]); // prettier-ignore
  assert.equal(distance(a!, b!), 10);
  assert.equal(distance(c!, d!), 10);
});

test('simplifying a freehand ring keeps it within the tolerance', () => {
  const ring: Point[] = Array.from({ length: 3747 }, (_, i) => {
    const t = (i / 3747) * 2 * Math.PI;
    return [500 + 200 * Math.cos(t), 400 + 120 * Math.sin(t)];
  });
  const few = simplify(ring, 0.5);
  assert.ok(few.length < 80 && few.length > 10);
  for (const point of ring) assert.ok(toRing(point, few) <= 0.5 + 1e-9);
});

test('simplifying drops repeated and straight-line points, never a vertex', () => {
  const square: Point[] = [[0, 0], [5, 0], [10, 0], [10, 10], [10, 10], [0, 10], [0, 0]]; // prettier-ignore
  const kept = simplify(square, 0.01);
  assert.deepEqual(new Set(kept.map(String)), new Set(['0,0', '10,0', '10,10', '0,10']));
});

test('rounding gives two decimals and no negative zero', () => {
  assert.deepEqual(round([1.006, 2.344]), [1.01, 2.34]);
  assert.equal(JSON.stringify(round([-0.001, 0])), '[0,0]');
});

test('a spacing that cannot be one is passed over', () => {
  assert.deepEqual(displaySpacing([0, 0], [0.16, 0.16]), [0.16, 0.16]);
  assert.deepEqual(displaySpacing([0.2, 0.1], [0.16, 0.16]), [0.2, 0.1]);
  assert.deepEqual(displaySpacing(null, [NaN, 0.1]), [1, 1]);
  assert.deepEqual(displaySpacing([0.1, -0.1], [0.001, 5]), [1, 1]);
  assert.deepEqual(displaySpacing(null, null), [1, 1]);
});

test('a point outside is moved to the edge of the image', () => {
  assert.deepEqual(clampToImage([-3, 700], 512, 640), [0, 640]);
});

function toRing(point: Point, ring: readonly Point[]): number {
  return Math.min(
    ...ring.map((a, i) => {
      const b = ring[(i + 1) % ring.length]!;
      const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
      const along = ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / (dx * dx + dy * dy);
      const t = Math.min(1, Math.max(0, along));
      return distance(point, [a[0] + t * dx, a[1] + t * dy]);
    }),
  );
}
