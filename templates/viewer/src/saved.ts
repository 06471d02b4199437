/**
 * An answer half done, as it is kept and given back: plain JSON, read without trusting its shape.
 */

import type { Drawn } from './annotation.ts';
import type { Answers, State } from './findings.ts';
import { finite, isRecord, items, record, text, texts } from './given.ts';
import type { Given } from './given.ts';
import { readShape } from './shapes.ts';
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
  /** why the image was skipped, in an answer that was */
  readonly skipped?: string;
}

/** A draft: an answer half done, the time it took so far, and when it was kept. */
export interface Draft extends Saved {
  readonly spent: Spent | null;
  /** milliseconds since 1970; 0 where it is not known */
  readonly savedAt: number;
}

type Pair = readonly [string, unknown];

const STATES: readonly unknown[] = ['present', 'absent', 'uncertain', 'unanswered'];

/**
 * Read what was saved, by this page or another version of it; null if there is nothing in it.
 *
 * Args: versions: answers kept so far. A draft that went on from another of them is out of date.
 */
export function readSaved(given: unknown, versions = 0): Draft | null {
  if (!isRecord(given) || !isRecord(given['answers'])) return null;
  if ((finite(given['versions']) ?? versions) !== versions) return null;
  return {
    answers: states(Object.entries(given['answers'])),
    comments: written(Object.entries(record(given['comments']))),
    comment: text(given['comment']),
    rois: items(given['rois'], readDrawn),
    chosen: text(given['chosen']),
    spent: readSpent(given['spent']),
    savedAt: finite(given['savedAt']) ?? 0,
  };
}

/** Read an answer as it was submitted: a `cxr-annotation/1` document. */
export function readDocument(given: unknown): Saved | null {
  if (!isRecord(given) || !Array.isArray(given['findings'])) return null;
  const findings = given['findings'].filter(isRecord);
  const pairs = (key: string): Pair[] => findings.map((one) => [text(one['label']), one[key]]);
  return {
    answers: states(pairs('state')),
    comments: written(pairs('comment')),
    comment: text(given['comment']),
    rois: items(given['rois'], readDrawn),
    chosen: '',
    ...(given['skipped'] === true ? { skipped: text(record(given['quality'])['reason']) } : {}),
  };
}

function readSpent(given: unknown): Spent | null {
  const { startedAt, activeMs } = record(given);
  const [date, ms] = [new Date(text(startedAt)), finite(activeMs)];
  if (Number.isNaN(date.getTime()) || ms === null || ms < 0) return null;
  return { startedAt: date.toISOString(), activeMs: ms };
}

function readDrawn(given: Given): Drawn | null {
  const [id, label, shape] = [text(given['id']), text(given['label']), readShape(given)];
  return id === '' || label === '' || shape === null ? null : { id, label, ...shape };
}

function states(pairs: readonly Pair[]): Answers {
  const known = pairs.filter(([, state]) => STATES.includes(state));
  return texts(Object.fromEntries(known)) as Readonly<Record<string, State>>;
}

function written(pairs: readonly Pair[]): Readonly<Record<string, string>> {
  return texts(Object.fromEntries(pairs.filter(([, comment]) => comment !== '')));
}
