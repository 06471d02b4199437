import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { area, length, says, scaleOf } from '../src/measure.ts';
import type { Point } from '../src/geometry.ts';
import { outline } from '../src/shapes.ts';
import { numbers } from './numbers.ts';

interface Case {
  readonly pixelSpacing: number[] | null;
  readonly imagerPixelSpacing: number[] | null;
  readonly from: string | null;
  readonly spacing: [number, number] | null;
}
const shared = readFileSync(new URL('../../test/spacings.json', import.meta.url), 'utf8');
const { cases } = JSON.parse(shared) as { cases: Case[] };

const OBLONG = scaleOf({ pixelSpacing: [0.2, 0.1], imagerPixelSpacing: null });
const SQUARE: Point[] = [[0, 0], [10, 0], [10, 10], [0, 10]]; // prettier-ignore

test('a length is the rows times their spacing and the columns times theirs', () => {
  assert.equal(length([0, 0], [30, 0], OBLONG), 3);
  assert.equal(length([0, 0], [0, 30], OBLONG), 6);
  assert.ok(Math.abs(length([5, 5], [35, 25], OBLONG) - 5) < 1e-12); // 3 mm across, 4 mm down
});

test('areas of all shapes agree with an outline of many corners', () => {
  const next = numbers(3);
  for (let i = 0; i < 200; i++) {
    const at = (): Point => [next() * 500, next() * 500];
    const scale = scaleOf({ pixelSpacing: [0.1 + next(), 0.1 + next()], imagerPixelSpacing: null });
    const [centre, u, v] = [at(), at(), at()];
    const end = (way: Point, sign: number): Point => [centre[0] + (sign * way[0]) / 5, centre[1] + (sign * way[1]) / 5];
    for (const shape of [
      { type: 'rectangle', points: [at(), at()] },
      { type: 'ellipse', points: [end(u, -1), end(u, 1), end(v, -1), end(v, 1)] },
    ] as const) {
      const inMm = outline(shape).map(([x, y]): Point => [x * scale.spacing[1], y * scale.spacing[0]]);
      const expected = area('polygon', inMm, { ...scale, spacing: [1, 1] });
      assert.ok(Math.abs(area(shape.type, shape.points, scale) - expected) <= expected * 1e-3 + 1e-9);
    }
  }
});

test('a ring has the area inside, whichever way round it goes', () => {
  assert.ok(Math.abs(area('polygon', SQUARE, OBLONG) - 2) < 1e-12);
  assert.ok(Math.abs(area('polygon', [...SQUARE].reverse(), OBLONG) - 2) < 1e-12);
});

test('what is written names the unit, and that it holds at the detector', () => {
  const detector = scaleOf({ pixelSpacing: null, imagerPixelSpacing: [0.16, 0.16] });
  const none = scaleOf({ pixelSpacing: [0, 0], imagerPixelSpacing: null });
  const line: Point[] = [[0, 0], [100, 0]]; // prettier-ignore
  assert.equal(says('length', line, OBLONG), '10.0 mm');
  assert.equal(says('length', line, detector), '16.0 mm (detector)');
  assert.equal(says('length', line, none), '100 px');
  assert.equal(says('polygon', SQUARE, OBLONG), '2.00 mm²');
  assert.equal(says('polygon', SQUARE, none), '100 px²');
  assert.equal(says('rectangle', [[0, 0], [100, 100]], detector), '2.56 cm² (detector)'); // prettier-ignore
  assert.equal(says('point', [[1, 1]], OBLONG), ''); // prettier-ignore
});

test('Pixel Spacing that only repeats the detector is not taken for the patient', () => {
  const spacing = [0.16, 0.16];
  assert.ok(scaleOf({ pixelSpacing: spacing, imagerPixelSpacing: [...spacing] }).detector);
  const calibrated = scaleOf({ pixelSpacing: [0.14, 0.14], imagerPixelSpacing: spacing });
  assert.deepEqual(calibrated, { spacing: [0.14, 0.14], unit: 'mm', detector: false });
});

test('a spacing counts on the page if it counts in the label', () => {
  for (const one of cases) {
    const { spacing, unit, detector } = scaleOf(one);
    const from = unit === 'px' ? null : detector ? 'ImagerPixelSpacing' : 'PixelSpacing';
    assert.deepEqual([from, unit === 'px' ? null : spacing], [one.from, one.spacing], JSON.stringify(one));
  }
});
