import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDispute } from '../src/dispute.ts';

test('an offer names its dispute, or none', () => {
  assert.deepEqual(readDispute('{"dispute": {"number": 1}}'), { number: 1 });
  for (const offer of ['', '[]', 'null', '{"dispute": null}', '{"dispute": 3}']) {
    assert.equal(readDispute(offer), null);
  }
});
