import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ActiveClock, IDLE_MS } from '../src/timing.ts';

const DAY = new Date('2026-11-22T10:00:00.000Z');
const later = (ms: number): Date => new Date(DAY.getTime() + ms);

test('idle and hidden time is not active time', () => {
  const clock = new ActiveClock();
  clock.start(1000, DAY);
  clock.touch(5000);
  clock.touch(5000 + 10 * IDLE_MS);
  assert.equal(clock.active(5000 + 10 * IDLE_MS), 4000 + IDLE_MS);
  clock.hide(5000 + 10 * IDLE_MS + 500);
  assert.equal(clock.active(1e9), 4000 + IDLE_MS + 500);
  clock.touch(2e9);
  assert.equal(clock.active(2e9 + 100), 4000 + IDLE_MS + 600);
  assert.equal(clock.report(2e9, later(2e9 - 1000)).totalMs, 2e9 - 1000);
});

test('a page opened in the background starts counting when it is looked at', () => {
  const clock = new ActiveClock();
  clock.start(0, DAY, false);
  assert.equal(clock.active(60_000), 0);
});

test('waiting for the image is no reading, whatever is pressed meanwhile', () => {
  const clock = new ActiveClock();
  clock.touch(1000);
  clock.hide(2000);
  clock.touch(3000);
  assert.equal(clock.active(5000), 0);
  assert.equal(clock.spent(5000), null);
  clock.start(5000, later(5000));
  assert.deepEqual(clock.report(6000, later(6000)), {
    startedAt: later(5000).toISOString(), submittedAt: later(6000).toISOString(), activeMs: 1000, totalMs: 1000,
  }); // prettier-ignore
});

test('an image that never came took no time', () => {
  const { startedAt, submittedAt, totalMs } = new ActiveClock().report(9000, later(9000));
  assert.deepEqual([startedAt, totalMs], [submittedAt, 0]);
});

test('a page loaded anew goes on from the time spent before', () => {
  const clock = new ActiveClock();
  clock.resume({ startedAt: DAY.toISOString(), activeMs: 7000 });
  clock.start(100, later(60_000));
  assert.deepEqual(clock.spent(600), { startedAt: DAY.toISOString(), activeMs: 7500 });
  assert.equal(clock.report(600, later(60_500)).totalMs, 60_500);
  assert.equal(clock.report(600, later(-60_000)).totalMs, 7500); // the calendar was set back
});
