/**
 * What blinded readers said of an image whose dispute is decided here.
 */

import type { RoiType } from './annotation.ts';
import { answer, excluded, followed, start } from './findings.ts';
import type { Answer, Answers, LabelSet, State } from './findings.ts';
import type { Point } from './geometry.ts';
import { items, record, text } from './given.ts';
import type { Given } from './given.ts';
import { readShape } from './shapes.ts';

/** A region of a reader's; it cannot be changed here, only copied. */
export interface Mark {
  readonly id: string;
  readonly type: RoiType;
  readonly label: string;
  readonly points: readonly Point[];
  readonly comment: string;
}

export interface Opinion {
  /** blinded: A, B, C … */
  readonly name: string;
  readonly states: Answers;
  readonly comments: Readonly<Record<string, string>>;
  readonly marks: readonly Mark[];
  readonly comment: string;
  readonly skipped: boolean;
  readonly reason: string;
}

const STATES: readonly string[] = ['present', 'absent', 'uncertain'];

/** One of the task's `opinions`; labels the job does not have are left out. */
export function parseOpinion(given: Given, labels: readonly string[]): Opinion | null {
  const name = text(given['name']).trim();
  if (name === '') return null;
  const states: Record<string, State> = Object.create(null);
  const comments: Record<string, string> = Object.create(null);
  for (const label of labels) states[label] = 'unanswered';
  items(given['findings'], (finding) => {
    const label = text(finding['label']);
    if (!labels.includes(label)) return null;
    const state = text(finding['state']);
    if (STATES.includes(state)) states[label] = state as Answer;
    if (text(finding['comment']).trim() !== '') comments[label] = text(finding['comment']).trim();
    return null;
  });
  return {
    name,
    states,
    comments,
    marks: items(given['rois'], (roi) => parseMark(roi, labels)),
    comment: text(given['comment']).trim(),
    skipped: given['skipped'] === true,
    reason: text(given['reason']) || text(record(given['quality'])['reason']),
  };
}

function parseMark(given: Given, labels: readonly string[]): Mark | null {
  const [label, shape] = [text(given['label']), readShape(given)];
  if (!labels.includes(label) || shape === null) return null;
  return { id: text(given['id']), label, ...shape, comment: text(given['comment']).trim() };
}

/**
 * Findings the readers do not agree on: those named, and those that differ; No Finding follows from
 * them. Where one skipped, every finding is named: what is in dispute is the skip, and not what all
 * others agree on.
 */
export function disputed(set: LabelSet, opinions: readonly Opinion[], named: readonly string[]): string[] {
  const asked = set.labels.filter((label) => label !== set.noFinding);
  const given = opinions.some((one) => one.skipped) ? [] : named;
  return asked.filter((label) => given.includes(label) || unanimous(opinions, label) === null);
}

/** What everybody who did not skip said of a finding; null where they differ, or did not say. */
export function unanimous(opinions: readonly Opinion[], label: string): Answer | null {
  const said = opinions.filter((one) => !one.skipped).map((one) => one.states[label] ?? 'unanswered');
  const [first] = said;
  if (first === undefined || first === 'unanswered') return null;
  return said.every((state) => state === first) ? first : null;
}

/** The start of a decision: what is undisputed is answered, what is disputed is not. */
export function prefilled(set: LabelSet, opinions: readonly Opinion[], named: readonly string[]): Answers {
  if (opinions.length === 0) return start(set);
  const open = disputed(set, opinions, named);
  const others = excluded(set);
  const settled = (label: string): boolean =>
    label === set.noFinding ? !open.some((other) => others.includes(other)) : !open.includes(label);
  const say = (label: string): State => (settled(label) ? unanimous(opinions, label) : null) ?? 'unanswered';
  const states = Object.fromEntries(set.labels.map((label) => [label, say(label)]));
  return followed(Object.assign(Object.create(null), states), set);
}

/** Take one reader's answer on a finding. */
export function take(answers: Answers, set: LabelSet, opinion: Opinion, label: string): ReturnType<typeof answer> {
  const said = opinion.states[label] ?? 'unanswered';
  if (said !== 'unanswered') return answer(answers, set, label, said);
  return { answers, note: `Reader ${opinion.name} did not answer ${label}` };
}
