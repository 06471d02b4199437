import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answer, followed, start, unanswered } from '../src/findings.ts';
import type { LabelSet } from '../src/findings.ts';
import { disputed, parseOpinion, prefilled, take, unanimous } from '../src/opinions.ts';
import type { Opinion } from '../src/opinions.ts';

const SET: LabelSet = {
  labels: ['Edema', 'Pneumonia', 'No Finding'],
  noFinding: 'No Finding',
  compatible: [],
  parents: {},
  follows: true,
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
        { id: '6', type: 'constructor', label: 'Edema', points: [[1, 2], [3, 4]] },
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

test('No Finding is in no dispute: it follows from what is decided', () => {
  const healthy = opinion('D', { Edema: 'absent', Pneumonia: 'absent', 'No Finding': 'present' });
  const ill = opinion('E', { Edema: 'present', Pneumonia: 'absent', 'No Finding': 'absent' });
  assert.deepEqual(disputed(SET, [healthy, ill], ['No Finding']), ['Edema']);
  const begun = prefilled(SET, [healthy, ill], []);
  assert.equal(begun['No Finding'], 'unanswered');
  assert.deepEqual(unanswered(begun, SET), ['Edema']);
  for (const [said, none] of [['present', 'absent'], ['uncertain', 'uncertain'], ['absent', 'present']] as const) {
    assert.equal(followed(answer(begun, SET, 'Edema', said).answers, SET, begun)['No Finding'], none);
  }
});

test('readers who each found something else leave No Finding open until it is decided', () => {
  const one = opinion('D', { Edema: 'absent', Pneumonia: 'present', 'No Finding': 'absent' });
  const other = opinion('E', { Edema: 'present', Pneumonia: 'absent', 'No Finding': 'absent' });
  const begun = prefilled(SET, [one, other], []);
  const decided = { ...begun, Edema: 'absent', Pneumonia: 'absent' } as const;
  assert.equal(followed(decided, SET, begun)['No Finding'], 'present');
});

test("a reader's answer is taken as if it were given here", () => {
  const taken = take(prefilled(SET, [A, B], []), SET, B, 'Pneumonia');
  assert.equal(taken.answers['Pneumonia'], 'uncertain');
  const none = take(start(SET), SET, SKIPPED, 'Edema');
  assert.equal(none.answers['Edema'], 'unanswered');
  assert.match(none.note, /Reader C did not answer Edema/);
});

test('where one skipped, what all others agree on is no dispute, though every finding is named', () => {
  assert.deepEqual(disputed(SET, [A, SKIPPED], SET.labels), []);
  assert.deepEqual(disputed(SET, [A, B, SKIPPED], SET.labels), ['Pneumonia']);
  assert.deepEqual({ ...prefilled(SET, [A, SKIPPED], SET.labels) }, { ...A.states });
});
