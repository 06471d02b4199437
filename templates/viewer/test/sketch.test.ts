import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Point } from '../src/geometry.ts';
import { distanceTo } from '../src/shapes.ts';
import { Sketch } from '../src/sketch.ts';
import type { DrawTool } from '../src/sketch.ts';
import { numbers } from './numbers.ts';

const begin = (tool: DrawTool, at: Point): Sketch => new Sketch(tool, at, (pixel) => pixel);

test('a rectangle is dragged from corner to corner', () => {
  const sketch = begin('rectangle', [10, 10]);
  sketch.move([20, 20]);
  assert.ok(!sketch.done);
  sketch.release([40, 30]);
  assert.ok(sketch.done);
  assert.deepEqual(sketch.shape, { type: 'rectangle', points: [[10, 10], [40, 30]] }); // prettier-ignore
});

test('a length may be clicked twice instead', () => {
  const sketch = begin('length', [10, 10]);
  sketch.release([11, 10]);
  sketch.move([30, 30]);
  assert.ok(!sketch.done);
  sketch.press([50, 60]);
  assert.ok(sketch.done);
  assert.deepEqual(sketch.shape.points, [[10, 10], [50, 60]]); // prettier-ignore
});

test('an ellipse grows about the point where it began', () => {
  const sketch = begin('ellipse', [50, 50]);
  sketch.release([70, 40]);
  assert.deepEqual(sketch.shape.points, [[50, 40], [50, 60], [30, 50], [70, 50]]); // prettier-ignore
});

test('a polygon ends at its first vertex, or with a double click, and not before it has three', () => {
  for (const last of [[3, 2], [60, 51]] as Point[]) {
    const sketch = begin('polygon', [0, 0]);
    sketch.press([1, 1]); // a double click at the start is no vertex
    sketch.press([50, 0]);
    sketch.press([51, 1]);
    assert.ok(!sketch.done);
    sketch.press([60, 50]);
    sketch.press(last);
    assert.ok(sketch.done);
    assert.deepEqual(sketch.shape.points, [[0, 0], [50, 0], [60, 50]]); // prettier-ignore
  }
});

test('a polygon is closed where it is when told to, from three vertices on', () => {
  const sketch = begin('polygon', [0, 0]);
  sketch.press([50, 0]);
  assert.ok(!sketch.close());
  sketch.press([60, 50]);
  sketch.move([90, 90]); // where the pointer is next is no vertex
  assert.ok(sketch.close() && sketch.done);
  assert.deepEqual(sketch.shape.points, [[0, 0], [50, 0], [60, 50]]); // prettier-ignore
  assert.ok(!begin('rectangle', [0, 0]).close());
});

test("a polygon's last vertex can be taken back", () => {
  const sketch = begin('polygon', [0, 0]);
  sketch.press([50, 0]);
  assert.ok(sketch.back());
  assert.ok(!sketch.back());
  sketch.press([80, 0]);
  sketch.press([80, 80]);
  sketch.press([0, 0]);
  assert.deepEqual(sketch.shape.points, [[0, 0], [80, 0], [80, 80]]); // prettier-ignore
});

test('a freehand line of thousands of points becomes a ring of few, half a pixel from it at most', () => {
  const next = numbers(11);
  const drawn = Array.from({ length: 4000 }, (_, i): Point => {
    const angle = (2 * Math.PI * i) / 4000;
    const reach = 200 + 25 * Math.sin(3 * angle) + next() * 0.2;
    return [500 + reach * Math.cos(angle), 400 + 0.6 * reach * Math.sin(angle)];
  });
  const sketch = begin('freehand', drawn[0]!);
  for (const point of drawn) sketch.move(point);
  sketch.release(drawn.at(-1)!);
  const { type, points } = sketch.shape;
  assert.equal(type, 'polygon');
  assert.ok(points.length < 150, String(points.length));
  for (const point of drawn) assert.ok(distanceTo(points, true, point) <= 0.5 + 1e-9);
});
