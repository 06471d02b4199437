/**
 * The right-hand side: a row a finding, the regions drawn, a comment.
 */

import { button, h, icon } from './dom.ts';
import { ANSWERS, isExcluded, unanswered, warnings } from './findings.ts';
import type { Answer, Answers, LabelSet } from './findings.ts';
import type { Drawn } from './annotation.ts';
import { ICONS } from './icons.ts';

const NAMES: Readonly<Record<Answer, string>> = {
  present: 'Present',
  uncertain: 'Uncertain',
  absent: 'Absent',
};
const LETTERS: Readonly<Record<Answer, string>> = { present: 'P', uncertain: 'U', absent: 'A' };

/** What the reader does in the panel. */
export interface PanelEvents {
  choose(label: string): void;
  answer(label: string, answer: Answer): void;
  restAbsent(): void;
  selectRoi(id: string): void;
  removeRoi(id: string): void;
}

/** What the panel shows. */
export interface PanelState {
  readonly answers: Answers;
  readonly chosen: string;
  readonly rois: readonly Drawn[];
  readonly selectedRoi: string | null;
}

const NO_LABELS: LabelSet = { labels: [], noFinding: null, compatible: [], parents: {} };

interface Row {
  readonly element: HTMLLIElement;
  readonly name: HTMLButtonElement;
  readonly mark: HTMLSpanElement;
  readonly choices: ReadonlyMap<Answer, HTMLButtonElement>;
}

export class Panel {
  readonly element: HTMLElement;
  readonly comment: HTMLTextAreaElement;
  /** where the submit button goes */
  readonly foot: HTMLElement;
  #set: LabelSet = NO_LABELS;
  #events: PanelEvents | null = null;
  readonly #rows = new Map<string, Row>();
  readonly #count = h('span', { class: 'cxr-count' });
  readonly #list = h('ul', { class: 'cxr-findings', 'aria-label': 'Findings' });
  readonly #rois = h('ul', { class: 'cxr-rois', 'aria-label': 'Regions' });

  constructor() {
    this.comment = h('textarea', {
      class: 'cxr-comment',
      rows: '1',
      maxlength: '2000',
      placeholder: 'Comment on this image',
      'aria-label': 'Comment on this image',
    });
    this.comment.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.comment.blur();
    });
    this.foot = h('div', { class: 'cxr-foot' });
    const rest = button(
      { 'data-action': 'rest-absent', title: 'All still unanswered: absent (Shift+A)' },
      () => this.#events?.restAbsent(),
      'Rest absent',
      h('kbd', {}, '⇧A'),
    );
    this.element = h(
      'aside',
      { class: 'cxr-panel', 'aria-label': 'Findings and regions' },
      h('div', { class: 'cxr-head' }, h('h2', {}, 'Findings'), this.#count, rest),
      this.#list,
      this.#rois,
      this.comment,
      this.foot,
    );
  }

  /** Show another reading: the same rows where the label set is the same, so that nothing moves. */
  begin(set: LabelSet, events: PanelEvents): void {
    const same = set.labels.join('\n') === this.#set.labels.join('\n');
    this.#set = set;
    this.#events = events;
    this.comment.value = '';
    if (same) return;
    this.#rows.clear();
    for (const label of set.labels) this.#rows.set(label, this.#row(label));
    this.#list.replaceChildren(...[...this.#rows.values()].map((row) => row.element));
  }

  update(state: PanelState): void {
    const warned = warnings(state.answers, this.#set);
    for (const [label, row] of this.#rows) this.#paint(row, label, state, warned.get(label));
    const total = this.#set.labels.length;
    const left = unanswered(state.answers, this.#set).length;
    this.#count.textContent = `${total - left} of ${total}`;
    this.#paintRois(state);
  }

  /** Bring a finding into view and, if asked, put the keyboard on it. */
  reveal(label: string, focus = false): void {
    const row = this.#rows.get(label);
    row?.element.scrollIntoView({ block: 'nearest' });
    if (focus) row?.choices.get('present')?.focus();
  }

  #row(label: string): Row {
    const mark = h('span', { class: 'cxr-mark', 'aria-hidden': 'true' });
    const name = button({ class: 'cxr-name' }, () => this.#events?.choose(label));
    name.append(h('span', {}, label), mark);
    const choices = new Map(ANSWERS.map((answer) => [answer, this.#choice(label, answer)]));
    const group = h('div', { role: 'radiogroup', 'aria-label': label, class: 'cxr-choices' });
    group.append(...choices.values());
    group.addEventListener('keydown', (event) => this.#walk(event, label, choices));
    const element = h('li', { 'data-label': label, class: 'cxr-finding' }, name, group);
    return { element, name, mark, choices };
  }

  #choice(label: string, answer: Answer): HTMLButtonElement {
    return button(
      {
        role: 'radio',
        'data-state': answer,
        'aria-label': NAMES[answer],
        title: `${NAMES[answer]} (${LETTERS[answer]})`,
      },
      () => this.#events?.answer(label, answer),
      LETTERS[answer],
    );
  }

  /** ← and → walk within one finding, as radio groups do. */
  #walk(event: KeyboardEvent, label: string, choices: ReadonlyMap<Answer, HTMLElement>): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    const at = ANSWERS.findIndex((answer) => choices.get(answer) === event.target);
    const answer = ANSWERS[(at + step + ANSWERS.length) % ANSWERS.length]!;
    this.#events?.answer(label, answer);
    choices.get(answer)?.focus();
    event.preventDefault();
  }

  #paint(row: Row, label: string, state: PanelState, warning: string | undefined): void {
    const said = state.answers[label] ?? 'unanswered';
    const out = isExcluded(state.answers, this.#set, label);
    const drawn = state.rois.filter((roi) => roi.label === label).length;
    row.element.dataset['answer'] = said;
    row.element.toggleAttribute('data-excluded', out);
    row.element.toggleAttribute('data-warning', warning !== undefined);
    const hint = warning ?? (out ? `Excluded while ${this.#set.noFinding} is present` : '');
    row.element.title = hint;
    row.name.title = hint === '' ? label : `${label}: ${hint}`; // names may be cut short
    row.name.setAttribute('aria-current', String(label === state.chosen));
    const mark = drawn > 0 ? `▭ ${drawn}` : out ? '⊘' : '';
    row.mark.textContent = warning === undefined ? mark : '⚠';
    const reached = said === 'unanswered' ? 'present' : said;
    for (const [answer, choice] of row.choices) {
      choice.setAttribute('aria-checked', String(answer === said));
      choice.tabIndex = answer === reached ? 0 : -1;
    }
  }

  #paintRois(state: PanelState): void {
    if (state.rois.length === 0) {
      const drawable = state.chosen !== this.#set.noFinding;
      const hint = drawable ? `No regions. B, E or G draws one for ${state.chosen}.` : 'No regions.';
      this.#rois.replaceChildren(h('li', { class: 'cxr-none' }, hint));
      return;
    }
    this.#rois.replaceChildren(...state.rois.map((roi) => this.#roi(roi, state)));
  }

  #roi(roi: Drawn, state: PanelState): HTMLLIElement {
    const chosen = roi.id === state.selectedRoi;
    return h(
      'li',
      { 'data-roi': roi.id, 'data-type': roi.type, 'data-answer': state.answers[roi.label] },
      button(
        { class: 'cxr-name', 'aria-current': String(chosen), title: `Select this ${roi.type} of ${roi.label}` },
        () => this.#events?.selectRoi(roi.id),
        icon(ICONS[roi.type]),
        h('span', {}, roi.label),
      ),
      button(
        { 'data-action': 'delete-roi', 'aria-label': `Delete ${roi.type} of ${roi.label}` },
        () => this.#events?.removeRoi(roi.id),
        '✕',
      ),
    );
  }
}
