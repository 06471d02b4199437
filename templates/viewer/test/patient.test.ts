import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patientLine } from '../src/patient.ts';

test('the line says what is known and nothing else', () => {
  assert.equal(patientLine({ age: null, sex: '', indication: '' }), '');
  assert.equal(patientLine({ age: 0, sex: 'F', indication: '' }), '0 y · F');
  assert.equal(patientLine({ age: 63, sex: '', indication: 'cough' }), '63 y · cough');
});
