import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDispute } from '../src/dispute.ts';
import { path } from '../src/given.ts';

test('an offer names its dispute, or none', () => {
  const dispute = { number: 2, of: 3, decided: 1, previousUrl: '/adjudicate/0', nextUrl: '/adjudicate/7?label=a%20b' };
  assert.deepEqual(readDispute({ ...dispute, label: null }), dispute);
  assert.deepEqual(readDispute({ ...dispute, previousUrl: null })?.previousUrl, '');
  for (const none of [null, 3, [], {}, { ...dispute, number: 4 }, { ...dispute, decided: '1' }]) {
    assert.equal(readDispute(none), null);
  }
});

test('an address leads nowhere but to this site', () => {
  for (const good of ['/', '/adjudicate/7?label=a%20b']) assert.equal(path(good), good);
  for (const bad of ['', 'x', '//host', '/\\host', '/\t/host', '/\n\\host', 'https://host/', 'javascript:1', null, 3]) {
    assert.equal(path(bad), '');
  }
});
