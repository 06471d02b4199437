import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as findings from '../src/findings.ts';
import type { Answers, LabelSet } from '../src/findings.ts';

const SET: LabelSet = {
  labels: ['Edema', 'Lung Opacity', 'Pneumonia', 'Support Devices', 'No Finding'],
  noFinding: 'No Finding',
  compatible: ['Support Devices'],
  parents: { 'Lung Opacity': ['Edema', 'Pneumonia'] },
  follows: false,
};

function say(...said: readonly (readonly [string, findings.Answer])[]): Answers {
  return said.reduce<Answers>(
    (answers, [label, answer]) => findings.answer(answers, SET, label, answer).answers,
    findings.start(SET),
  );
}

test('everything starts unanswered', () => {
  assert.deepEqual(findings.unanswered(findings.start(SET), SET), SET.labels);
});

test('a label may have any name', () => {
  const odd: LabelSet = { ...SET, labels: ['__proto__', 'constructor'], noFinding: null, parents: {} };
  const { answers } = findings.answer(findings.start(odd), odd, '__proto__', 'present');
  assert.equal(answers['__proto__'], 'present');
  assert.equal(answers['constructor'], 'unanswered');
  assert.equal(findings.restAbsent(findings.start(odd), odd).answers['__proto__'], 'absent');
});

test('No Finding makes the findings it excludes absent and leaves the compatible ones', () => {
  const { answers, note } = findings.noFinding(say(['Edema', 'present']), SET);
  assert.equal(answers['No Finding'], 'present');
  assert.equal(answers['Edema'], 'absent');
  assert.equal(answers['Support Devices'], 'unanswered');
  assert.match(note, /Edema set to absent/);
  assert.match(note, /still to answer: Support Devices/);
});

test('answering No Finding present is the same as its key', () => {
  const start = findings.start(SET);
  assert.deepEqual(
    findings.answer(start, SET, 'No Finding', 'present'),
    findings.noFinding(start, SET),
  );
});

test('a finding answered present turns No Finding absent and says so', () => {
  const none = say(['No Finding', 'present']);
  const change = findings.answer(none, SET, 'Pneumonia', 'present');
  assert.equal(change.answers['No Finding'], 'absent');
  assert.match(change.note, /No Finding set to absent: Pneumonia is present/);
});

test('a doubtful finding turns No Finding uncertain', () => {
  const change = findings.answer(say(['No Finding', 'present']), SET, 'Edema', 'uncertain');
  assert.equal(change.answers['No Finding'], 'uncertain');
});

test('a compatible finding leaves No Finding alone', () => {
  const change = findings.answer(say(['No Finding', 'present']), SET, 'Support Devices', 'present');
  assert.equal(change.answers['No Finding'], 'present');
  assert.equal(change.note, '');
});

test('only findings that No Finding speaks against are excluded, and only while it is present', () => {
  const none = say(['No Finding', 'present']);
  assert.ok(findings.isExcluded(none, SET, 'Edema'));
  assert.ok(!findings.isExcluded(none, SET, 'Support Devices'));
  assert.ok(!findings.isExcluded(none, SET, 'No Finding'));
  assert.ok(!findings.isExcluded(say(['No Finding', 'absent']), SET, 'Edema'));
});

test('the rest absent leaves answers alone and lets No Finding follow', () => {
  const follows = (answers: Answers): unknown => findings.restAbsent(answers, SET).answers['No Finding'];
  assert.equal(follows(say(['Support Devices', 'present'])), 'present');
  assert.equal(follows(say(['Edema', 'uncertain'])), 'uncertain');
  assert.equal(follows(say(['Edema', 'present'])), 'absent');
  const { answers } = findings.restAbsent(say(['Pneumonia', 'uncertain']), SET);
  assert.equal(answers['Pneumonia'], 'uncertain');
  assert.equal(answers['Edema'], 'absent');
  assert.deepEqual(findings.unanswered(answers, SET), []);
});

test('a child present under an absent parent is a warning on the child', () => {
  const warned = findings.warnings(say(['Edema', 'present'], ['Lung Opacity', 'absent']), SET);
  assert.equal(warned.get('Edema'), 'Edema is present but its parent Lung Opacity is absent');
  assert.equal(findings.warnings(say(['Edema', 'present']), SET).size, 0);
  assert.equal(
    findings.warnings(say(['Edema', 'present'], ['Lung Opacity', 'uncertain']), SET).size,
    0,
  );
});

test('No Finding absent with every finding absent is a warning', () => {
  const { answers } = findings.restAbsent(say(['No Finding', 'absent']), SET);
  assert.ok(findings.warnings(answers, SET).has('No Finding'));
});

test('the next unanswered finding goes round the end and stays when there is none', () => {
  const most = say(['Lung Opacity', 'absent'], ['Support Devices', 'absent'], ['No Finding', 'absent']);
  assert.equal(findings.nextUnanswered(most, SET, 'Lung Opacity'), 'Pneumonia');
  assert.equal(findings.nextUnanswered(most, SET, 'Pneumonia'), 'Edema');
  const all = findings.restAbsent(most, SET).answers;
  assert.equal(findings.nextUnanswered(all, SET, 'Edema'), 'Edema');
});

test('walking stops at both ends', () => {
  assert.equal(findings.neighbour(SET, 'Edema', -1), 'Edema');
  assert.equal(findings.neighbour(SET, 'No Finding', 1), 'No Finding');
  assert.equal(findings.neighbour(SET, 'Edema', 1), 'Lung Opacity');
});

test('answers are never changed in place', () => {
  const start = findings.start(SET);
  findings.answer(start, SET, 'Edema', 'present');
  findings.noFinding(start, SET);
  findings.restAbsent(start, SET);
  assert.equal(start['Edema'], 'unanswered');
});

test('the key N answers every finding, devices that were seen included', () => {
  const fresh = findings.noFindingRestAbsent(findings.start(SET), SET);
  assert.deepEqual(findings.unanswered(fresh.answers, SET), []);
  const device = SET.compatible[0] as string;
  const seen = findings.answer(findings.start(SET), SET, device, 'present').answers;
  assert.equal(findings.noFindingRestAbsent(seen, SET).answers[device], 'present');
});

test('an answer taken back is unanswered, and takes No Finding with it where that stood on it', () => {
  const none = say(['No Finding', 'present']);
  const change = findings.withdraw(none, SET, 'Edema');
  assert.equal(change.answers['Edema'], 'unanswered');
  assert.equal(change.answers['No Finding'], 'unanswered');
  assert.match(change.note, /No Finding is unanswered again/);
  const plain = findings.withdraw(say(['Edema', 'present']), SET, 'Edema');
  assert.deepEqual([plain.answers['Edema'], plain.note], ['unanswered', '']);
});

test('the rest absent leaves the parent of a present finding present, and its own parent too', () => {
  const set: LabelSet = {
    labels: ['Opacity', 'Consolidation', 'Pneumonia', 'Heart', 'None'],
    noFinding: 'None',
    follows: false,
    compatible: [],
    parents: { Opacity: ['Consolidation'], Consolidation: ['Pneumonia'] },
  };
  const said = findings.answer(findings.start(set), set, 'Pneumonia', 'present').answers;
  const { answers, note } = findings.restAbsent(said, set);
  assert.deepEqual({ ...answers }, {
    Opacity: 'present', Consolidation: 'present', Pneumonia: 'present', Heart: 'absent', None: 'absent',
  }); // prettier-ignore
  assert.equal(note, 'Consolidation set to present, as Pneumonia is; Opacity set to present, as Consolidation is');
  assert.equal(findings.warnings(answers, set).size, 0);
  const denied = findings.answer(said, set, 'Consolidation', 'absent').answers;
  assert.equal(findings.restAbsent(denied, set).answers['Consolidation'], 'absent');
  assert.equal(findings.restAbsent(denied, set).answers['Opacity'], 'absent');
});
