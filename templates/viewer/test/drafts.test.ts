import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DraftKeeper, RETRY_MS, SAVE_MS } from '../src/drafts.ts';
import { saysOfDraft } from '../src/keeping.ts';
import { PortalError } from '../src/portal.ts';
import { readDocument, readSaved } from '../src/saved.ts';

/** A keeper of one number, with a clock that a test turns. */
function setUp() {
  const world = { state: { n: 0 }, stamp: {}, kept: [] as string[], said: [] as boolean[], broken: false, hopeless: false, due: new Map<number, () => void>() };
  const waits: number[] = [];
  const clock = {
    after: (ms: number, act: () => void) => (waits.push(ms), world.due.set(waits.length, act), waits.length),
    stop: (handle: number) => void world.due.delete(handle),
  };
  const save = async (text: string): Promise<void> => {
    if (world.broken) throw new Error('offline');
    world.kept.push(text);
  };
  const keeper = new DraftKeeper({ save }, () => world.state, (error) => (world.said.push(error !== null), !world.hopeless), () => world.stamp, clock);
  const turn = async (): Promise<void> => {
    const acts = [...world.due.values()];
    world.due.clear();
    for (const act of acts) act();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { world, waits, keeper, turn };
}

test('many changes are one saving, and no change is none', async () => {
  const { world, waits, keeper, turn } = setUp();
  keeper.touch();
  await turn();
  assert.deepEqual(world.kept, []);
  for (let n = 1; n < 5; n++) {
    world.state = { n };
    keeper.touch();
  }
  await turn();
  assert.deepEqual(world.kept, ['{"n":4}']);
  assert.deepEqual(waits, [SAVE_MS, SAVE_MS]);
});

test('the time that passes is kept with a change, and is none', async () => {
  const { world, keeper, turn } = setUp();
  world.stamp = { spent: 1 };
  keeper.touch();
  await turn();
  assert.deepEqual(world.kept, []);
  world.state = { n: 1 };
  await keeper.flush();
  world.stamp = { spent: 2 };
  await keeper.flush();
  assert.deepEqual(world.kept, ['{"n":1,"spent":1}']);
});

test('what could not be kept is said, and tried again until it is', async () => {
  const { world, waits, keeper, turn } = setUp();
  world.state = { n: 1 };
  world.broken = true;
  await keeper.flush();
  await turn();
  world.broken = false;
  await turn();
  assert.deepEqual(world.kept, ['{"n":1}']);
  assert.deepEqual(world.said, [true, true, false]);
  assert.deepEqual(waits, [RETRY_MS, RETRY_MS]);
});

test('what will never be kept is not tried again, until an answer was refused', async () => {
  const { world, waits, keeper, turn } = setUp();
  world.state = { n: 1 };
  world.broken = world.hopeless = true;
  assert.equal(await keeper.flush(), false);
  world.state = { n: 2 };
  keeper.touch();
  assert.equal(await keeper.flush(true), false);
  assert.deepEqual([world.said, waits, world.due.size], [[true], [], 0]);
  world.broken = world.hopeless = false;
  keeper.resume();
  await turn();
  assert.deepEqual(world.kept, ['{"n":2}']);
});

test('a draft that is not kept says why, and hopes only where there is hope', () => {
  assert.deepEqual(saysOfDraft(null), { text: '', again: true });
  for (const status of [410, 423]) {
    const { text, again } = saysOfDraft(new PortalError(status, 'the job is closed'));
    assert.ok(!again && text.includes('the job is closed'), text);
  }
  assert.match(saysOfDraft(new PortalError(401, 'x')).text, /Sign in again in another tab/);
  assert.match(saysOfDraft(new PortalError(0, 'x')).text, /does not answer/);
  assert.match(saysOfDraft(new PortalError(413, 'larger than 2 MB')).text, /larger than 2 MB/);
});

test('nothing is kept while an answer is sent, and again when it was refused', async () => {
  const { world, keeper, turn } = setUp();
  keeper.stop();
  world.state = { n: 1 };
  keeper.touch();
  await keeper.flush(true);
  assert.deepEqual(world.kept, []);
  keeper.resume();
  await turn();
  assert.deepEqual(world.kept, ['{"n":1}']);
});

test('a draft is kept again after a refused answer, though nothing changed', async () => {
  const { world, keeper, turn } = setUp();
  world.state = { n: 1 };
  await keeper.flush();
  keeper.stop();
  keeper.resume();
  await turn();
  assert.deepEqual(world.kept, ['{"n":1}', '{"n":1}']);
});

test('a flush waits for the saving under way, and keeps what came after it', async () => {
  const kept: string[] = [];
  const slow: (() => void)[] = [];
  const save = async (text: string): Promise<void> => {
    await new Promise<void>((resolve) => slow.push(resolve));
    kept.push(text);
  };
  const clock = { after: (_: number, act: () => void) => (act(), 1), stop: () => undefined };
  let state = { n: 0 };
  const keeper = new DraftKeeper({ save }, () => state, () => true, undefined, clock);
  state = { n: 1 };
  keeper.touch();
  state = { n: 2 };
  const flushed = keeper.flush();
  while (slow.length > 0) {
    slow.shift()!();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(await flushed, true);
  assert.deepEqual(kept.at(-1), '{"n":2}');
});

test('a flush says whether everything is kept', async () => {
  const { world, keeper } = setUp();
  assert.equal(await keeper.flush(), true);
  world.state = { n: 1 };
  world.broken = true;
  assert.equal(await keeper.flush(), false);
  world.broken = false;
  assert.equal(await keeper.flush(), true);
});

test('a draft that goes on from another version of the answer is none', () => {
  const draft = { answers: { Edema: 'present' } };
  assert.equal(readSaved({ ...draft, versions: 0 }, 1), null);
  assert.equal(readSaved({ ...draft, versions: 2 }, 1), null);
  for (const good of [draft, { ...draft, versions: 1 }]) assert.deepEqual({ ...readSaved(good, 1)?.answers }, draft.answers);
});

test('a draft is read without trusting it', () => {
  const roi = { id: 'a', type: 'polygon', label: 'Edema', points: [[1, 2], [3, 4], [5, 6]] }; // prettier-ignore
  const wrong = [{ ...roi, points: [[1, null]] }, { ...roi, id: 3 }, null, 'x',
    { ...roi, type: 'circle' }, { ...roi, type: 'constructor' }, { ...roi, type: 'ellipse' }, { ...roi, type: 'point' },
    { ...roi, points: [[1, 2], [3, 4]] }]; // prettier-ignore
  const saved = readSaved({ answers: { Edema: 'present', constructor: 'absent', Cyst: 'maybe' }, rois: [roi, ...wrong], comment: 7 });
  assert.deepEqual(saved?.rois, [roi]);
  assert.deepEqual({ ...saved?.answers }, { Edema: 'present', constructor: 'absent' });
  assert.equal(saved?.comment, '');
  const spent = { startedAt: '2026-11-22T10:00:00.000Z', activeMs: 7 };
  assert.deepEqual(readSaved({ answers: {}, spent })?.spent, spent);
  for (const odd of [null, 'x', { ...spent, activeMs: '7' }, { ...spent, activeMs: -1 }, { ...spent, startedAt: 'noon' }]) {
    assert.equal(readSaved({ answers: {}, spent: odd })?.spent, null);
  }
  for (const nothing of [null, 3, [], {}, { answers: 1 }]) assert.equal(readSaved(nothing), null);
});

test('an answer opens with its comments and regions', () => {
  const roi = { id: 'a', type: 'rectangle', label: 'Edema', points: [[1, 2], [3, 4]], state: 'present', comment: '' }; // prettier-ignore
  const findings = [{ label: 'Edema', state: 'present', comment: 'left' }, { label: 'Cyst', state: 'absent', comment: '' }];
  const saved = readDocument({ findings, rois: [roi], comment: 'c' });
  assert.deepEqual({ ...saved?.comments }, { Edema: 'left' });
  assert.deepEqual({ ...saved?.answers }, { Edema: 'present', Cyst: 'absent' });
  assert.deepEqual(saved?.rois.map((one) => one.points), [[[1, 2], [3, 4]]]); // prettier-ignore
  assert.equal(readDocument({}), null);
});
