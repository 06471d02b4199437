import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesOf, stacked } from '../src/marks.ts';
import { parseOpinion } from '../src/opinions.ts';

function drew(name: string, ...rois: readonly object[]): NonNullable<ReturnType<typeof parseOpinion>> {
  return parseOpinion({ name, rois: rois.map((roi) => ({ id: '', label: 'Edema', ...roi })) }, ['Edema'])!;
}

const A = drew('A', { type: 'rectangle', points: [[1, 2], [5, 9]] }, { type: 'length', points: [[0, 0], [3, 4]] }); // prettier-ignore
const B = drew('B', { type: 'point', points: [[7, 7]] }); // prettier-ignore
const twice = ([x, y]: readonly [number, number]): [number, number] => [2 * x, 2 * y];

test("readers' regions are lines on the screen: areas closed, lengths open, points a cross", () => {
  const [box, length, point] = linesOf([A, B], new Set(['A', 'B']), twice);
  assert.equal(box?.d, 'M2.00 4.00L10.00 4.00L10.00 18.00L2.00 18.00Z');
  assert.equal(length?.d, 'M0.00 0.00L6.00 8.00');
  assert.match(point?.d ?? '', /^M14\.00 14\.00m-6 0h12/);
  assert.deepEqual([box?.text, point?.text], ['A Edema', 'B Edema']);
  assert.notEqual(box?.color, point?.color);
});

test('only readers that are shown have lines, and keep their colours', () => {
  const [all, some] = [new Set(['A', 'B']), new Set(['B'])];
  const colors = linesOf([A, B], all, twice).map((line) => line.color);
  assert.deepEqual(linesOf([A, B], some, twice).map((line) => line.color), colors.slice(-1));
});

test('names stand above their regions, one above another where they would cover each other', () => {
  const names = [
    { at: [10, 100], width: 60 },
    { at: [40, 104], width: 60 },
    { at: [200, 100], width: 60 },
    { at: [10, 5], width: 60 },
    { at: [12, 5], width: 60 },
  ] as const;
  const taken = [{ left: 190, top: 80, width: 50, height: 18 }];
  const boxes = stacked(names as unknown as Parameters<typeof stacked>[0], taken);
  const all = [...boxes, ...taken];
  for (const [i, a] of all.entries()) {
    assert.ok(a.top >= 0);
    for (const b of all.slice(i + 1)) {
      const apart = a.left >= b.left + b.width || b.left >= a.left + a.width;
      assert.ok(apart || a.top >= b.top + b.height || b.top >= a.top + a.height, `${JSON.stringify([a, b])}`);
    }
  }
  assert.deepEqual([boxes[0]!.left, boxes[0]!.top], [10, 78]);
});
