/**
 * One finding in the panel: its name, what is said of it, and what belongs to it.
 */

import { button, h, icon } from './dom.ts';
import { ANSWERS } from './findings.ts';
import type { Answer, State } from './findings.ts';
import { ICONS } from './icons.ts';
import { withKey } from './keys.ts';
import type { Binding } from './keys.ts';

export const NAMES: Readonly<Record<State, string>> = {
  present: 'Present',
  uncertain: 'Uncertain',
  absent: 'Absent',
  unanswered: 'Unanswered',
};
export const LETTERS: Readonly<Record<State, string>> = {
  present: 'P',
  uncertain: 'U',
  absent: 'A',
  unanswered: '–',
};

export interface RowEvents {
  choose(): void;
  answer(answer: Answer): void;
  /** the answer given was clicked again */
  withdraw(): void;
  comment(): void;
}

/** What a row shows. */
export interface RowState {
  readonly said: State;
  readonly chosen: boolean;
  /** what is peculiar about it, and why in words; the first is marked */
  readonly flags: ReadonlyMap<Flag, string>;
  /** regions that belong to it */
  readonly regions: number;
  readonly comment: string;
}

export type Flag = 'warning' | 'excluded' | 'asks' | 'disputed';

const FLAGS: readonly Flag[] = ['warning', 'excluded', 'asks', 'disputed'];
const MARKS: Readonly<Record<Flag, string>> = { warning: '⚠', excluded: '⊘', asks: '▭ ?', disputed: '≠' };

export class Row {
  readonly element: HTMLLIElement;
  readonly note: HTMLButtonElement;
  readonly #label: string;
  /** what the comment's button says while there is none */
  readonly #plain: string;
  readonly #name: HTMLButtonElement;
  readonly #mark = h('span', { class: 'cxr-mark', 'aria-hidden': 'true' });
  readonly #choices: ReadonlyMap<Answer, HTMLButtonElement>;
  readonly #events: RowEvents;
  #said: State = 'unanswered';

  /** Args: between: what stands between the name and the answers; comments: whether it takes one. */
  constructor(
    label: string,
    events: RowEvents,
    keys: readonly Binding[],
    between: readonly Node[],
    comments: boolean,
  ) {
    this.#label = label;
    this.#plain = withKey('Comment on this finding', 'comment-finding', keys);
    this.#events = events;
    this.#name = button({ class: 'cxr-name' }, () => events.choose());
    this.#name.append(h('span', {}, label), this.#mark);
    this.#choices = new Map(ANSWERS.map((answer) => [answer, this.#choice(answer, keys)]));
    const group = h('div', { role: 'radiogroup', 'aria-label': label, class: 'cxr-choices' });
    group.append(...this.#choices.values());
    group.addEventListener('keydown', (event) => this.#walk(event));
    this.note = button(
      { class: 'cxr-note-open', 'data-action': 'comment-finding' },
      () => events.comment(),
      icon(ICONS.comment),
    );
    this.element = h('li', { 'data-label': label, class: 'cxr-finding' }, this.#name, ...between);
    if (comments) this.element.append(this.note);
    this.element.append(group);
  }

  paint(state: RowState): void {
    const { said, flags, comment } = state;
    const hint = [...flags.values()].join('; ');
    this.#said = said;
    const { element } = this;
    element.dataset['answer'] = said;
    for (const flag of FLAGS) element.toggleAttribute(`data-${flag}`, flags.has(flag));
    element.title = hint;
    this.#name.title = hint === '' ? this.#label : `${this.#label}: ${hint}`; // names may be cut short
    this.#name.setAttribute('aria-current', String(state.chosen));
    const count = state.regions > 0 ? `▭ ${state.regions}` : '';
    const [flag] = flags.keys();
    this.#mark.textContent = flag === 'warning' ? MARKS[flag] : count || (flag ? MARKS[flag] : '');
    const has = comment.trim() !== '';
    this.note.toggleAttribute('data-filled', has);
    this.note.title = has ? comment : this.#plain;
    this.note.setAttribute('aria-label', `Comment on ${this.#label}${has ? `: ${comment}` : ''}`);
    const reached = said === 'unanswered' ? 'present' : said;
    for (const [answer, choice] of this.#choices) {
      choice.setAttribute('aria-checked', String(answer === said));
      choice.tabIndex = answer === reached ? 0 : -1;
    }
  }

  reveal(focus: boolean): void {
    this.element.scrollIntoView({ block: 'nearest' });
    if (focus) this.#choices.get('present')?.focus();
  }

  #choice(answer: Answer, keys: readonly Binding[]): HTMLButtonElement {
    const title = withKey(NAMES[answer], answer, keys);
    const made = button(
      { role: 'radio', 'data-state': answer, 'aria-label': NAMES[answer], title },
      () => undefined,
      LETTERS[answer],
    );
    made.addEventListener('click', (event) => {
      if (this.#said !== answer) this.#events.answer(answer);
      // the second click of a double click takes nothing back
      else if (event.detail < 2) this.#events.withdraw();
    });
    return made;
  }

  /** ← and → walk within one finding, as radio groups do. */
  #walk(event: KeyboardEvent): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined || event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return;
    const at = ANSWERS.findIndex((answer) => this.#choices.get(answer) === event.target);
    const answer = ANSWERS[(at + step + ANSWERS.length) % ANSWERS.length]!;
    this.#events.answer(answer);
    this.#choices.get(answer)?.focus();
    event.preventDefault();
  }
}
