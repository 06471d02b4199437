/**
 * What is said of an answer: what a change of it brought with it, and what is still left to do.
 */

import type { Bindings } from './binding.ts';
import { warnings } from './findings.ts';
import type { Answers } from './findings.ts';
import * as regions from './regions.ts';
import type { Task } from './task.ts';
import type { View } from './viewing.ts';

/** A change of answers, and what else was set with it. */
interface Changed {
  readonly before: Answers;
  readonly after: Answers;
  readonly note: string;
}

/** Say what a change brought with it, and only that: what was contradictory before was said before. */
export function sayWhatFollows({ page, rois }: View, bindings: Bindings, task: Task, changed: Changed): void {
  const { before, after, note } = changed;
  const known = [...warnings(before, task).values()];
  const warned = [...warnings(after, task).values()].find((one) => !known.includes(one));
  const fitted = rois.drawn().filter((roi) => !regions.isOrphan(roi, before));
  const left = regions.orphan(fitted, after);
  if (left?.orphan) bindings.ask(left.orphan.id, left.says);
  else page.say([note, warned ?? ''].filter((part) => part !== '').join('; '));
}

/** The first thing that keeps the answer from being submitted; null if nothing does. */
export function leftToDo({ radiograph, rois }: View, task: Task, answers: Answers): regions.Left | null {
  const { facts } = radiograph;
  if (facts === null) return { label: '', says: 'There is no image to answer on: try again, or skip it' };
  if (rois.sketch !== null) return { label: '', says: 'A region is still being drawn: finish it, or drop it with Esc' };
  return regions.left(rois.drawn(), answers, task, facts);
}
