import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countPixels, Greys } from '../src/greys.ts';
import type { Chain } from '../src/greys.ts';

const chain: Chain = {
  bits: { allocated: 16, stored: 12, shift: 0, signed: false },
  inverted: false,
  padding: null,
  rescale: { slope: 1, intercept: 0 },
  modalityLut: null,
  voiLut: null,
  window: [128, 256],
  voiFunction: 'LINEAR',
  notes: [],
};
const ramp = Uint16Array.from({ length: 256 }, (_, i) => i);
const greys = (changes: Partial<Chain>): Greys => new Greys({ ...chain, ...changes }, countPixels(ramp));

test('a LINEAR window of 256 values is the values', () => {
  assert.deepEqual([...greys({}).table()], [...ramp]);
  assert.deepEqual([...greys({ inverted: true }).table()], [...ramp].reverse());
});

test('SIGMOID is grey at its centre and neither black nor white at its ends', () => {
  const table = greys({ voiFunction: 'SIGMOID' }).table();
  assert.deepEqual([table[0], table[128], table[255]], [30, 128, 224]);
});

test('a dragged window keeps its function, and leaves a VOI LUT', () => {
  const voiLut = { values: [0, 255], first: 100, bits: 8 };
  const shown = greys({ voiFunction: 'SIGMOID', voiLut });
  assert.equal(shown.says(), 'VOI LUT');
  assert.equal(shown.window, null);
  assert.deepEqual([...shown.table()].slice(99, 103), [0, 0, 255, 255]);

  shown.drag(0, 0);
  assert.equal(shown.says(), 'W 256   L 128   SIGMOID');
  assert.deepEqual(shown.table(), greys({ voiFunction: 'SIGMOID' }).table());
});

test('padding is black either way round and does not count', () => {
  const shown = greys({ padding: [250, 255], inverted: true, window: null });
  assert.equal(shown.table()[255], 0);
  shown.toggleInvert();
  assert.equal(shown.table()[255], 0);
  assert.equal(shown.table()[249], 255);
});

test('the full range leaves out stray values and holds for a flat image', () => {
  const values = Uint16Array.from({ length: 10_000 }, (_, i) => (i < 20 ? 4000 : i % 1000));
  const [centre, width] = new Greys({ ...chain, window: null }, countPixels(values)).window!;
  assert.ok(centre - width / 2 < 20 && centre + width / 2 > 980 && centre + width / 2 < 1000);
  const flat = new Greys({ ...chain, window: null }, countPixels(new Uint8Array(9).fill(7)));
  assert.equal(flat.table()[7], 0);
});

test('signed values are read from their bits', () => {
  const bits = { allocated: 16, stored: 12, shift: 0, signed: true };
  const shown = new Greys({ ...chain, bits, window: [0, 256] }, countPixels([-128, 127]));
  assert.deepEqual([shown.table()[0], shown.table()[255]], [0, 255]);
});
