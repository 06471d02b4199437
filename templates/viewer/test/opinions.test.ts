import assert from 'node:assert/strict';
import { test } from 'node:test';
import { start } from '../src/findings.ts';
import type { LabelSet } from '../src/findings.ts';
import { disputed, outline, parseOpinion, prefilled, take, unanimous } from '../src/opinions.ts';
import type { Opinion } from '../src/opinions.ts';

const SET: LabelSet = {
  labels: ['Edema', 'Pneumonia', 'No Finding'],
  noFinding: 'No Finding',
  compatible: [],
  parents: {},
};

function opinion(name: string, states: Record<string, string>, more: object = {}): Opinion {
  const findings = Object.entries(states).map(([label, state]) => ({ label, state, comment: '' }));
  return parseOpinion({ name, findings, ...more }, SET.labels)!;
}

const A = opinion('A', { Edema: 'present', Pneumonia: 'absent', 'No Finding': 'absent' });
const B = opinion('B', { Edema: 'present', Pneumonia: 'uncertain', 'No Finding': 'absent' });
const SKIPPED = opinion('C', {}, { skipped: true, reason: 'not frontal' });

test('an opinion keeps states, comments and regions of the labels of the job', () => {
  const read = parseOpinion(
    {
      name: ' A ',
      findings: [
        { label: 'Edema', state: 'present', comment: ' faint ' },
        { label: 'Other', state: 'present', comment: '' },
        { label: 'Pneumonia', state: 'perhaps', comment: 4 },
      ],
      rois: [
        { id: '1', type: 'rectangle', label: 'Edema', points: [[1, 2], [3, 4]], comment: '' },
        { id: '2', type: 'rectangle', label: 'Edema', points: [[1, 2]] },
        { id: '3', type: 'rectangle', label: 'Other', points: [[1, 2], [3, 4]] },
        { id: '4', type: 'star', label: 'Edema', points: [[1, 2], [3, 4]] },
        { id: '5', type: 'rectangle', label: 'Edema', points: [[1, 2], [3, 'x']] },
      ],
      comment: 'all', skipped: false, reason: null,
    },
    SET.labels,
  )!; // prettier-ignore
  assert.equal(read.name, 'A');
  assert.equal(read.states['Edema'], 'present');
  assert.equal(read.states['Pneumonia'], 'unanswered');
  assert.deepEqual({ ...read.comments }, { Edema: 'faint' });
  assert.deepEqual(read.marks.map((mark) => mark.id), ['1']);
  assert.equal(parseOpinion({ name: '' }, SET.labels), null);
});

test('findings are disputed where readers differ, or where the task says so', () => {
  assert.deepEqual(disputed(SET, [A, B], []), ['Pneumonia']);
  assert.deepEqual(disputed(SET, [A, B], ['Edema']), ['Edema', 'Pneumonia']);
  assert.deepEqual(disputed(SET, [A, SKIPPED], []), []);
});

test('a reader who skipped has no say in what is unanimous', () => {
  assert.equal(unanimous([A, SKIPPED], 'Pneumonia'), 'absent');
  assert.equal(unanimous([SKIPPED], 'Pneumonia'), null);
  assert.equal(unanimous([A, opinion('D', {})], 'Edema'), null);
});

test('a decision starts with what is undisputed, and leaves the rest open', () => {
  assert.deepEqual({ ...prefilled(SET, [A, B], []) }, {
    Edema: 'present', Pneumonia: 'unanswered', 'No Finding': 'absent',
  }); // prettier-ignore
  assert.deepEqual({ ...prefilled(SET, [], []) }, { ...start(SET) });
});

test("a reader's answer is taken as if it were given here", () => {
  const taken = take(prefilled(SET, [A, B], []), SET, B, 'Pneumonia');
  assert.equal(taken.answers['Pneumonia'], 'uncertain');
  const none = take(start(SET), SET, SKIPPED, 'Edema');
  assert.equal(none.answers['Edema'], 'unanswered');
  assert.match(none.note, /Reader C did not answer Edema/);
});

test('an outline runs through the corners of a rectangle and the ends of an ellipse', () => {
  const box = outline({ type: 'rectangle', points: [[1, 2], [5, 9]] }); // prettier-ignore
  assert.deepEqual(box, { points: [[1, 2], [5, 2], [5, 9], [1, 9]], closed: true }); // prettier-ignore
  const ends = [[0, 5], [20, 5], [10, 1], [10, 9]] as const; // prettier-ignore
  const { points } = outline({ type: 'ellipse', points: ends });
  for (const [x, y] of ends) {
    assert.ok(points.some((p) => Math.hypot(p[0] - x, p[1] - y) < 1e-9), `${x}, ${y}`);
  }
  for (const [x, y] of points) assert.ok(Math.abs(((x - 10) / 10) ** 2 + ((y - 5) / 4) ** 2 - 1) < 1e-9);
  assert.equal(outline({ type: 'length', points: [[0, 0], [1, 1]] }).closed, false); // prettier-ignore
});
