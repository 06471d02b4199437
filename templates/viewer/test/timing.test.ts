import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ActiveClock, IDLE_MS } from '../src/timing.ts';

test('idle and hidden time is not active time', () => {
  const clock = new ActiveClock(1000);
  clock.touch(5000);
  clock.touch(5000 + 10 * IDLE_MS);
  assert.equal(clock.active(5000 + 10 * IDLE_MS), 4000 + IDLE_MS);
  clock.hide(5000 + 10 * IDLE_MS + 500);
  assert.equal(clock.active(1e9), 4000 + IDLE_MS + 500);
  clock.touch(2e9);
  assert.equal(clock.active(2e9 + 100), 4000 + IDLE_MS + 600);
  assert.equal(clock.total(2e9), 2e9 - 1000);
});

test('a page opened in the background starts counting when it is looked at', () => {
  const clock = new ActiveClock(0, false);
  assert.equal(clock.active(60_000), 0);
});
