import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTask, readTask, withAddresses } from '../src/task.ts';

const LEAST = { labels: ['Edema', 'Pneumonia', 'No Finding'], noFinding: 'No Finding' };

test('a task with nothing but labels has the plainest page', () => {
  const task = parseTask(JSON.stringify(LEAST), '');
  assert.deepEqual(task.page, {
    tools: null, askRoi: [], windows: [], keys: Object.create(null), mouse: Object.create(null), comments: true, uids: true,
  }); // prettier-ignore
  assert.deepEqual([task.examples, task.companions, task.opinions, task.disputed], [[], [], [], []]);
  assert.deepEqual(task.shown, { age: null, sex: '', indication: '' });
  assert.equal(task.unit, 'image');
});

test('the settings of a page are read as they are', () => {
  const page = {
    tools: ['window', 'rectangle'],
    askRoi: ['Pneumonia'],
    windows: [{ name: 'tube', center: 600, width: 800 }],
    keys: { present: 'j' },
    mouse: { left: 'pan' },
    comments: false,
    uids: false,
  };
  const read = readTask({ ...LEAST, page }).page;
  assert.deepEqual(JSON.parse(JSON.stringify(read)), page);
});

test('what has another shape counts as not given', () => {
  const task = readTask({
    ...LEAST,
    page: { tools: 'all', askRoi: ['Nothing', 7], windows: [{ name: 'a', center: 1, width: 0 }, null, 3], keys: [1], mouse: { left: 2 }, comments: 0 },
    examples: [{ caption: 'no picture' }, 'x', { url: 'https://a/b.png' }],
    shown: { age: 'sixty', sex: 3, indication: null },
    unit: 'patient',
    companions: [{ kind: 'prior' }, { imageUrl: 'https://a/i' }],
    opinions: [{ findings: [] }, 'A'],
    disputed: ['Nothing', 'Edema'],
  }); // prettier-ignore
  assert.equal(task.page.tools, null);
  assert.deepEqual([task.page.askRoi, task.page.windows], [[], []]);
  assert.deepEqual([Object.keys(task.page.keys), Object.keys(task.page.mouse)], [[], []]);
  assert.equal(task.page.comments, true);
  assert.deepEqual(task.examples, [{ url: 'https://a/b.png', caption: '' }]);
  assert.deepEqual(task.shown, { age: null, sex: '', indication: '' });
  assert.equal(task.unit, 'image');
  assert.deepEqual(task.companions, [{ kind: 'other', imageUrl: 'https://a/i', says: 'other' }]);
  assert.deepEqual([task.opinions, task.disputed], [[], ['Edema']]);
});

test("the template's addresses of companions win where there is one for each", () => {
  const task = readTask({ ...LEAST, companions: [{ kind: 'lateral', imageUrl: 's3://b/l.dcm' }] });
  assert.equal(withAddresses(task, ' https://s3/l.dcm?x ').companions[0]?.imageUrl, 'https://s3/l.dcm?x');
  assert.equal(withAddresses(task, '').companions[0]?.imageUrl, 's3://b/l.dcm');
});
