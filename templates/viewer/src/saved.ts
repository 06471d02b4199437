/**
 * An answer half done, as it is kept and given back: plain JSON, read without trusting its shape.
 */

import type { Drawn, RoiType } from './annotation.ts';
import type { Answers, State } from './findings.ts';
import type { Point } from './geometry.ts';
import type { Spent } from './timing.ts';

export interface Saved {
  readonly answers: Answers;
  /** finding to what was written beside it */
  readonly comments: Readonly<Record<string, string>>;
  /** on the image */
  readonly comment: string;
  /** in image pixels, as drawn */
  readonly rois: readonly Drawn[];
  /** the finding that the reader was at */
  readonly chosen: string;
}

/** A draft: an answer half done, and the time it took so far. */
export interface Draft extends Saved {
  readonly spent: Spent | null;
}

const STATES: readonly unknown[] = ['present', 'absent', 'uncertain', 'unanswered'];

type Dictionary = Readonly<Record<string, unknown>>;

/** Read what was saved, by this page or another version of it; null if there is nothing in it. */
export function readSaved(given: unknown): Draft | null {
  if (!isRecord(given) || !isRecord(given['answers'])) return null;
  return {
    answers: byLabel(Object.entries(given['answers']).filter(isState)),
    comments: byLabel(Object.entries(asRecord(given['comments'])).filter(isText)),
    comment: text(given['comment']),
    rois: list(given['rois']).flatMap(readDrawn),
    chosen: text(given['chosen']),
    spent: readSpent(given['spent']),
  };
}

/** Read an answer as it was submitted: a `cxr-annotation/1` document. */
export function readDocument(given: unknown): Saved | null {
  if (!isRecord(given) || !Array.isArray(given['findings'])) return null;
  const findings = given['findings'].filter(isRecord);
  const pairs = (key: string): [string, unknown][] => findings.map((one) => [text(one['label']), one[key]]);
  return {
    answers: byLabel(pairs('state').filter(isState)),
    comments: byLabel(pairs('comment').filter(isText)),
    comment: text(given['comment']),
    rois: list(given['rois']).flatMap(readDrawn),
    chosen: '',
  };
}

function readSpent(given: unknown): Spent | null {
  const { startedAt, activeMs } = asRecord(given);
  const date = new Date(text(startedAt));
  if (Number.isNaN(date.getTime()) || typeof activeMs !== 'number' || !(activeMs >= 0)) return null;
  return { startedAt: date.toISOString(), activeMs };
}

function readDrawn(given: unknown): Drawn[] {
  if (!isRecord(given) || !Array.isArray(given['points'])) return [];
  const [id, type, label] = ['id', 'type', 'label'].map((key) => text(given[key]));
  const points = given['points'].filter(isPoint);
  if (!id || !type || !label || points.length !== given['points'].length) return [];
  return [{ id, type: type as RoiType, label, points }]; // a type nobody knows is not restored
}

function isPoint(given: unknown): given is Point {
  return Array.isArray(given) && given.length === 2 && given.every(Number.isFinite);
}

function isState(pair: readonly [string, unknown]): pair is [string, State] {
  return STATES.includes(pair[1]);
}

function isText(pair: readonly [string, unknown]): pair is [string, string] {
  return typeof pair[1] === 'string' && pair[1] !== '';
}

function isRecord(value: unknown): value is Dictionary {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const asRecord = (value: unknown): Dictionary => (isRecord(value) ? value : {});
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** Without a prototype: a label may be called "constructor". */
function byLabel<T>(pairs: readonly (readonly [string, T])[]): Record<string, T> {
  return Object.assign(Object.create(null), Object.fromEntries(pairs)) as Record<string, T>;
}
