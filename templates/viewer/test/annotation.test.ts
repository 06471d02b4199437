import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exportPoints, refusal, toDocument } from '../src/annotation.ts';
import type { Answered, Drawn, ImageFacts } from '../src/annotation.ts';
import { answer, start } from '../src/findings.ts';
import { parseTask } from '../src/task.ts';

const TASK = parseTask(
  JSON.stringify({
    labels: ['Pneumonia', 'No Finding'],
    noFinding: 'No Finding',
    jobId: 'demo',
    itemId: 'i',
    templateSha: 't',
    viewerSha: 'v',
  }),
  '',
);
const IMAGE: ImageFacts = {
  studyUid: '1.2', seriesUid: '1.3', sopUid: '1.4', frame: 1, rows: 100, columns: 80,
  pixelSpacing: null, imagerPixelSpacing: [0.16, 0.16], patientOrientation: ['L', 'F'],
  photometric: 'MONOCHROME2', transferSyntax: '1.2.840.10008.1.2.1',
}; // prettier-ignore
const RECTANGLE: Drawn = {
  id: 'r', type: 'rectangle', label: 'Pneumonia', points: [[10, 20], [40.123, 20], [10, 60.456], [40.123, 60.456]],
}; // prettier-ignore

function answered(change: Partial<Answered> = {}): Answered {
  return {
    task: TASK,
    set: TASK,
    answers: answer(start(TASK), TASK, 'Pneumonia', 'present').answers,
    drawn: [RECTANGLE],
    image: IMAGE,
    view: { window: [2200, 3200], invert: false, flipH: false, flipV: false, rotation: 0, backend: 'cpu' },
    comment: ' faint ',
    comments: {},
    skip: null,
    timing: { startedAt: 'a', submittedAt: 'b', activeMs: 1, totalMs: 2 },
    ...change,
  };
}

test('UIDs stay out of an answer where the job wants none', () => {
  const task = { ...TASK, page: { ...TASK.page, uids: false } };
  const image = { ...IMAGE, studyUid: '', seriesUid: '', sopUid: '' };
  assert.deepEqual((toDocument(answered({ task })) as { image: object }).image, image);
  assert.equal((toDocument(answered({ task, image: null })) as { image: null }).image, null);
});

test('the document is the schema, key for key', () => {
  assert.deepEqual(JSON.parse(JSON.stringify(toDocument(answered()))), {
    schema: 'cxr-annotation/1',
    task: { jobId: 'demo', itemId: 'i', templateSha: 't', viewerSha: 'v' },
    image: { ...IMAGE },
    findings: [
      { label: 'Pneumonia', state: 'present', comment: '' },
      { label: 'No Finding', state: 'absent', comment: '' },
    ],
    rois: [
      { id: 'r', type: 'rectangle', label: 'Pneumonia', points: [[10, 20], [40.12, 60.46]], state: 'present', comment: '' },
    ],
    quality: { usable: true, reason: null },
    comment: 'faint',
    skipped: false,
    view: { window: [2200, 3200], invert: false, flipH: false, flipV: false, rotation: 0, backend: 'cpu' },
    timing: { startedAt: 'a', submittedAt: 'b', activeMs: 1, totalMs: 2 },
  }); // prettier-ignore
});

test('a region takes the state of its finding', () => {
  const { answers } = answer(start(TASK), TASK, 'Pneumonia', 'uncertain');
  const document = toDocument(answered({ answers })) as { rois: { state: string }[] };
  assert.equal(document.rois[0]?.state, 'uncertain');
});

test('a length or a point says of its finding what the reader said, and no more', () => {
  const { answers } = answer(start(TASK), TASK, 'Pneumonia', 'absent');
  const drawn: Drawn[] = [
    { ...RECTANGLE, type: 'length', points: [[10, 10], [30, 10]] },
    { ...RECTANGLE, type: 'point', points: [[5, 5]] },
  ]; // prettier-ignore
  for (const state of ['absent', 'uncertain', 'present'] as const) {
    const said = { ...answers, Pneumonia: state };
    const { rois } = toDocument(answered({ answers: said, drawn })) as { rois: { state: string }[] };
    assert.deepEqual(rois.map((roi) => roi.state), [state, state]);
  }
});

test('a skip names its reason and leaves findings unanswered', () => {
  const skipped = toDocument(answered({ answers: start(TASK), drawn: [], image: null, view: null, skip: 'not frontal' }));
  const { quality, skipped: yes, findings, image } = skipped as Record<string, unknown>;
  assert.deepEqual(quality, { usable: false, reason: 'not frontal' });
  assert.equal(yes, true);
  assert.equal(image, null);
  assert.equal((findings as { state: string }[])[0]?.state, 'unanswered');
});

test('what lies outside the image is cut off a rectangle and a polygon', () => {
  const wide: Drawn = { ...RECTANGLE, points: [[-5, 20], [90, 20], [-5, 120], [90, 120]] }; // prettier-ignore
  assert.deepEqual(exportPoints(wide, IMAGE), [[0, 20], [80, 100]]); // prettier-ignore
  const ring: Drawn = { ...RECTANGLE, type: 'polygon', points: [[10, 10], [99, 30], [10, 50]] }; // prettier-ignore
  assert.ok(exportPoints(ring, IMAGE).every(([x, y]) => x <= 80 && y <= 100));
});

test('vertices survive, points on a straight line do not', () => {
  const clicked: Drawn = { ...RECTANGLE, type: 'polygon', points: [[10, 10], [20, 10.3], [30, 10], [25, 25], [20, 40]] }; // prettier-ignore
  assert.equal(exportPoints(clicked, IMAGE).length, 4);
});

test('a length has two ends on the image, a point one, rounded and as drawn', () => {
  const line: Drawn = { ...RECTANGLE, type: 'length', points: [[30.123, 10], [10, 40.006]] }; // prettier-ignore
  assert.deepEqual(exportPoints(line, IMAGE), [[30.12, 10], [10, 40.01]]); // prettier-ignore
  assert.equal(refusal(line, IMAGE), '');
  assert.match(refusal({ ...line, points: [[10, 10], [11, 10]] }, IMAGE), /too short/); // prettier-ignore
  assert.match(refusal({ ...line, points: [[-9, 10], [30, 10]] }, IMAGE), /on the image/); // prettier-ignore
  const point: Drawn = { ...RECTANGLE, type: 'point', points: [[5, 5]] }; // prettier-ignore
  assert.equal(refusal(point, IMAGE), '');
  assert.match(refusal({ ...point, points: [[5, -1]] }, IMAGE), /on the image/); // prettier-ignore
});

test('slips of the mouse and regions off the image are refused', () => {
  assert.equal(refusal(RECTANGLE, IMAGE), '');
  assert.match(refusal({ ...RECTANGLE, points: [[10, 10], [10.5, 10.5]] }, IMAGE), /too small/i); // prettier-ignore
  assert.match(refusal({ ...RECTANGLE, points: [[-50, 10], [-10, 60]] }, IMAGE), /on the image/); // prettier-ignore
  const broken = { ...RECTANGLE, type: 'ellipse', points: [[0, 0], [9, NaN], [4, -4], [4, 4]] } as const;
  assert.match(refusal(broken, IMAGE), /not be read/);
});

test('a task is read without trusting it', () => {
  const task = parseTask(
    '{"labels": ["A", "A", 3, "B"], "noFinding": "C", "compatible": ["B", "Z"], "parents": {"B": ["A", "Q"], "Z": []}, "jobId": 7}',
    'https://pacs.example/x',
  );
  assert.deepEqual(task.labels, ['A', 'B']);
  assert.equal(task.noFinding, null);
  assert.deepEqual(task.compatible, ['B']);
  assert.deepEqual(task.parents, { B: ['A'] });
  assert.equal(task.jobId, '');
  assert.equal(task.imageUrl, 'https://pacs.example/x');
  for (const bad of ['', '[]', '{"labels": []}', '{"labels": "A,B"}']) {
    assert.throws(() => parseTask(bad, ''), { message: /^expected / });
  }
});

test('a comment on a finding is exported with it, and on the image with the image', () => {
  const comments = Object.assign(Object.create(null), { Pneumonia: ' <b>left</b> ' });
  const { findings } = toDocument(answered({ comments })) as { findings: object[] };
  assert.deepEqual(findings[0], { label: 'Pneumonia', state: 'present', comment: '<b>left</b>' });
  assert.deepEqual(findings[1], { label: 'No Finding', state: 'absent', comment: '' });
});
