/**
 * What the reader has said of each finding, and what follows from it.
 *
 * Every function takes answers and gives new ones; the page draws what they say. Nothing is ever
 * absent because nobody spoke: the start is `unanswered`, and submitting waits for it to go.
 */

export type Answer = 'present' | 'absent' | 'uncertain';
export type State = Answer | 'unanswered';
export type Answers = Readonly<Record<string, State>>;

/** The label set as the task carries it. */
export interface LabelSet {
  readonly labels: readonly string[];
  /** the label that says every other finding is absent */
  readonly noFinding: string | null;
  /** labels that may be present beside it */
  readonly compatible: readonly string[];
  /** parent to its children: a child present implies its parent */
  readonly parents: Readonly<Record<string, readonly string[]>>;
  /** No Finding is never asked: it follows from the others */
  readonly follows: boolean;
}

export interface Change {
  readonly answers: Answers;
  /** what else changed and why, for the reader; empty if only what was asked for */
  readonly note: string;
}

export const ANSWERS: readonly Answer[] = ['present', 'uncertain', 'absent'];

export function start(set: LabelSet): Answers {
  // no prototype: a label may be called "constructor" or "__proto__"
  return Object.assign(
    Object.create(null),
    Object.fromEntries(set.labels.map((label) => [label, 'unanswered'])),
  );
}

/** The findings that cannot be present where No Finding is. */
export function excluded(set: LabelSet): string[] {
  if (set.noFinding === null) return [];
  return set.labels.filter((l) => l !== set.noFinding && !set.compatible.includes(l));
}

/** Whether No Finding speaks against this finding now. */
export function isExcluded(answers: Answers, set: LabelSet, label: string): boolean {
  return (
    set.noFinding !== null &&
    answers[set.noFinding] === 'present' &&
    excluded(set).includes(label)
  );
}

export function answer(answers: Answers, set: LabelSet, label: string, said: Answer): Change {
  if (label === set.noFinding && said === 'present') return noFinding(answers, set);
  const next = copy(answers, { [label]: said });
  const none = set.noFinding;
  if (none === null || said === 'absent' || !excluded(set).includes(label)) {
    return { answers: next, note: '' };
  }
  if (answers[none] === 'present' || (answers[none] === 'unanswered' && said === 'present')) {
    // doubt about one finding is doubt about there being none
    const follows: Answer = said === 'present' ? 'absent' : 'uncertain';
    return {
      answers: copy(next, { [none]: follows }),
      note: `${none} set to ${follows}: ${label} is ${said}`,
    };
  }
  return { answers: next, note: '' };
}

/**
 * No Finding as the other findings say, where it is not asked; else the answers as they are.
 *
 * Args: before: what was said until now; it follows where others changed, or it is unanswered.
 */
export function followed(answers: Answers, set: LabelSet, before: Answers = answers): Answers {
  const none = set.noFinding;
  const others = excluded(set);
  if (!set.follows || none === null || others.length === 0) return answers;
  const changed = others.some((other) => answers[other] !== before[other]);
  if (!changed && answers[none] !== 'unanswered') return answers;
  const said = others.map((other) => answers[other]);
  const follows: State = said.includes('present')
    ? 'absent'
    : (said.find((one) => one === 'unanswered') ?? said.find((one) => one === 'uncertain') ?? 'present');
  return copy(answers, { [none]: follows });
}

/** Take an answer back. No Finding goes with it where it stood on that answer. */
export function withdraw(answers: Answers, set: LabelSet, label: string): Change {
  const next = copy(answers, { [label]: 'unanswered' });
  const none = set.noFinding;
  if (none === null || !isExcluded(answers, set, label)) return { answers: next, note: '' };
  return {
    answers: copy(next, { [none]: 'unanswered' }),
    note: `${none} is unanswered again: so is ${label}`,
  };
}

/** No Finding present, and absent whatever it excludes; compatible findings stay as they are. */
export function noFinding(answers: Answers, set: LabelSet): Change {
  if (set.noFinding === null) return { answers, note: 'This job has no "No Finding"' };
  const changes: Record<string, State> = Object.assign(Object.create(null), { [set.noFinding]: 'present' });
  const withdrawn: string[] = [];
  for (const label of excluded(set)) {
    if (answers[label] === 'present' || answers[label] === 'uncertain') withdrawn.push(label);
    changes[label] = 'absent';
  }
  const left = set.compatible.filter((label) => answers[label] === 'unanswered');
  const who = withdrawn.length > 0 ? withdrawn.join(', ') : 'what it excludes';
  const rest = left.length > 0 ? `; still to answer: ${left.join(', ')}` : '';
  const note = `${set.noFinding} is present: ${who} set to absent${rest}`;
  return { answers: copy(answers, changes), note };
}

/** What the key says: No Finding present, and every other finding that is unanswered absent too. */
export function noFindingRestAbsent(answers: Answers, set: LabelSet): Change {
  const none = noFinding(answers, set);
  if (set.noFinding === null) return none;
  const left = set.compatible.filter((label) => answers[label] === 'unanswered');
  const changes = Object.fromEntries(left.map((label) => [label, 'absent' as State]));
  return { answers: copy(none.answers, changes), note: `${set.noFinding} is present, the rest absent` };
}

/** Everything unanswered becomes absent, but for what a present child implies; No Finding follows from the others. */
export function restAbsent(answers: Answers, set: LabelSet): Change {
  const none = set.noFinding;
  const implied = impliedParents(answers, set);
  const changes: Record<string, State> = Object.create(null);
  for (const label of unanswered(answers, set)) {
    if (label !== none) changes[label] = implied.has(label) ? 'present' : 'absent';
  }
  const next = copy(answers, changes);
  const notes = [...implied].map(([parent, child]) => `${parent} set to present, as ${child} is`);
  if (none === null || answers[none] !== 'unanswered') return { answers: next, note: notes.join('; ') };
  const others = excluded(set).map((label) => next[label]);
  const follows: Answer = others.includes('present')
    ? 'absent'
    : others.includes('uncertain')
      ? 'uncertain'
      : 'present';
  return {
    answers: copy(next, { [none]: follows }),
    note: [...notes, `${none} set to ${follows}, as the other findings say`].join('; '),
  };
}

/** Unanswered parents of what is present, and their own parents: parent to the child that implies it. */
function impliedParents(answers: Answers, set: LabelSet): Map<string, string> {
  const implied = new Map<string, string>();
  const parents = Object.entries(set.parents).filter(([parent]) => answers[parent] === 'unanswered');
  for (let before = -1; before < implied.size; ) {
    before = implied.size;
    for (const [parent, children] of parents) {
      const child = children.find((one) => answers[one] === 'present' || implied.has(one));
      if (child !== undefined && !implied.has(parent)) implied.set(parent, child);
    }
  }
  return implied;
}

export function unanswered(answers: Answers, set: LabelSet): string[] {
  const asked = (label: string): boolean => !set.follows || label !== set.noFinding;
  return set.labels.filter((label) => asked(label) && answers[label] === 'unanswered');
}

/** The next finding to answer after `label`, round the end; `label` itself if none is left. */
export function nextUnanswered(answers: Answers, set: LabelSet, label: string): string {
  const at = set.labels.indexOf(label);
  const round = [...set.labels.slice(at + 1), ...set.labels.slice(0, at + 1)];
  const left = unanswered(answers, set);
  return round.find((other) => left.includes(other)) ?? label;
}

/** The finding `step` rows further, stopping at the ends. */
export function neighbour(set: LabelSet, label: string, step: number): string {
  const at = set.labels.indexOf(label) + step;
  return set.labels[Math.min(Math.max(at, 0), set.labels.length - 1)] ?? label;
}

/** What contradicts itself without being forbidden: finding to warning. */
export function warnings(answers: Answers, set: LabelSet): Map<string, string> {
  const found = new Map<string, string>();
  for (const [parent, children] of Object.entries(set.parents)) {
    for (const child of children) {
      if (answers[child] === 'present' && answers[parent] === 'absent') {
        found.set(child, `${child} is present but its parent ${parent} is absent`);
      }
    }
  }
  const none = set.noFinding;
  const others = excluded(set);
  if (
    none !== null &&
    answers[none] === 'absent' &&
    others.length > 0 &&
    others.every((label) => answers[label] === 'absent')
  ) {
    found.set(none, `${none} is absent but so is every finding`);
  }
  return found;
}

function copy(answers: Answers, changes: Readonly<Record<string, State>>): Answers {
  return Object.assign(Object.create(null), answers, changes);
}
