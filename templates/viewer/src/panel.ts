/**
 * The right-hand side: a row a finding, the regions drawn, a comment, and the readers to decide on.
 */

import type { Drawn } from './annotation.ts';
import { button, h } from './dom.ts';
import { isExcluded, unanswered, warnings } from './findings.ts';
import type { Answer, Answers } from './findings.ts';
import { keyOf, withKey } from './keys.ts';
import type { Binding, Command } from './keys.ts';
import { More } from './more.ts';
import { Note } from './note.ts';
import { disputed } from './opinions.ts';
import { Readers } from './readers.ts';
import type { ReaderEvents } from './readers.ts';
import { RegionList } from './regionlist.ts';
import type { RegionEvents } from './regionlist.ts';
import { Row } from './row.ts';
import type { Flag, RowState } from './row.ts';
import type { Task } from './task.ts';

/** What the reader does in the panel. */
export interface PanelEvents extends RegionEvents, ReaderEvents {
  choose(label: string): void;
  answer(label: string, answer: Answer): void;
  withdraw(label: string): void;
  restAbsent(): void;
  /** what is written beside a finding changed */
  comment(label: string, text: string): void;
}

/** What the panel shows. */
export interface PanelState {
  readonly answers: Answers;
  readonly chosen: string;
  readonly rois: readonly Drawn[];
  readonly selectedRoi: string | null;
  /** regions that are not drawn at present */
  readonly hidden: ReadonlySet<string>;
  /** finding to what was written beside it */
  readonly comments: Readonly<Record<string, string>>;
  /** findings that lack a region the job asks for */
  readonly asking: readonly string[];
  /** what a region measures, in words; may be empty */
  measure(roi: Drawn): string;
}

const DRAWING: readonly Command[] = ['tool-rectangle', 'tool-ellipse', 'tool-polygon', 'tool-freehand'];

export class Panel {
  readonly element: HTMLElement;
  readonly comment: HTMLTextAreaElement;
  /** where the submit button goes */
  readonly foot = h('div', { class: 'cxr-foot' });
  #task: Task | null = null;
  #events: PanelEvents | null = null;
  #readers: Readers | null = null;
  #regions: RegionList | null = null;
  /** what the submit button says */
  #submits: string | null = null;
  #comments: Readonly<Record<string, string>> = {};
  #disputed: readonly string[] = [];
  readonly #rows = new Map<string, Row>();
  readonly #count = h('span', { class: 'cxr-count' });
  readonly #head: HTMLElement;
  readonly #rest: HTMLButtonElement;
  readonly #restKey = h('kbd');
  #keys: readonly Binding[] = [];
  readonly #list = h('ul', { class: 'cxr-findings', 'aria-label': 'Findings' });
  readonly #lower = h('div', { class: 'cxr-lower' });
  readonly #more = new More(this.#lower);
  readonly #regionHead = h('h2');
  #selectedRoi: string | null = null;
  readonly #note = new Note((label, text) => this.#events?.comment(label, text));

  constructor() {
    this.comment = imageComment();
    const rest = (): void => this.#events?.restAbsent();
    this.#rest = button({ 'data-action': 'rest-absent' }, rest, 'Rest absent', this.#restKey);
    this.#head = h('div', { class: 'cxr-head' }, h('h2', {}, 'Findings'), this.#count, this.#rest);
    this.element = h(
      'aside',
      { class: 'cxr-panel', 'aria-label': 'Findings and regions' },
      this.#head,
      this.#list,
      this.#lower,
      this.comment,
      this.foot,
      this.#more.element,
      this.#note.element,
    );
  }

  /** The blinded readers whose regions are to be seen. */
  get visibleReaders(): ReadonlySet<string> {
    return this.#readers?.visible ?? new Set();
  }

  /** The keys that the job has, for what is said of them; before `begin`. */
  equip(keys: readonly Binding[]): void {
    this.#keys = keys;
    this.#rest.title = withKey('All still unanswered: absent', 'rest-absent', keys);
    this.#restKey.textContent = keyOf('rest-absent', keys).replace('Shift+', '⇧');
    this.#restKey.hidden = this.#restKey.textContent === '';
  }

  /** Show another reading: the same rows where the label set is the same, so that nothing moves. */
  begin(task: Task, events: PanelEvents): void {
    const before = this.#task;
    const same =
      task.labels.join('\n') === before?.labels.join('\n') &&
      JSON.stringify(task.page) === JSON.stringify(before.page) &&
      task.opinions.length + before.opinions.length === 0;
    this.#task = task;
    this.#events = events;
    this.comment.value = '';
    this.comment.hidden = !task.page.comments;
    this.#note.dismiss();
    const regionLabels = task.labels.filter((label) => label !== task.noFinding);
    this.#regions = new RegionList(regionLabels, events);
    if (!same) this.#rebuild(task, events);
    const said = this.#readers === null ? [] : [this.#readers.said];
    this.#lower.replaceChildren(...said, this.#regionHead, this.#regions.element);
    this.#selectedRoi = null;
  }

  update(state: PanelState): void {
    const task = this.#task;
    if (task === null) return;
    this.#comments = state.comments;
    const warned = warnings(state.answers, task);
    for (const [label, row] of this.#rows) row.paint(this.#rowState(task, label, state, warned.get(label)));
    const left = unanswered(state.answers, task);
    const open = this.#disputed.filter((label) => left.includes(label)).length;
    const answered = `${task.labels.length - left.length} of ${task.labels.length}`;
    const skipped = task.opinions.flatMap((one) => (one.skipped ? one.name : []));
    const skips = skipped.length > 0 ? ` · ${skipped.join(', ')} skipped` : '';
    const disputes = `${open} of ${this.#disputed.length} disputed left${skips}`;
    this.#count.textContent = this.#readers === null ? answered : disputes;
    this.#readers?.update(state.chosen);
    this.#regions?.update({ ...state, none: this.#noRegion(task, state) });
    this.#regionHead.textContent = state.rois.length > 0 ? `Regions ${state.rois.length}` : 'Regions';
    if (state.selectedRoi !== this.#selectedRoi) this.#showSelected(state.selectedRoi);
  }

  /** Show that nothing can be answered yet, and for what one waits; '' for nothing. */
  await(what: '' | 'image' | 'sending'): void {
    const waits = what !== '';
    this.element.toggleAttribute('data-waiting', waits);
    for (const name of ['aria-disabled', 'aria-busy']) {
      if (waits) this.element.setAttribute(name, 'true');
      else this.element.removeAttribute(name);
    }
    const submit = this.foot.firstElementChild;
    if (submit === null) return;
    submit.toggleAttribute('data-sending', what === 'sending');
    submit.setAttribute('aria-busy', String(what === 'sending'));
    this.#submits ??= submit.textContent ?? '';
    const text = what === 'sending' ? 'Sending …' : this.#submits;
    if (submit.textContent !== text) submit.textContent = text;
  }

  /** Bring a finding into view and, if asked, put the keyboard on it. */
  reveal(label: string, focus = false): void {
    this.#rows.get(label)?.reveal(focus);
  }

  /** Open the comment of a finding. */
  openNote(label: string): void {
    const row = this.#rows.get(label);
    if (!row || !this.#task?.page.comments) return;
    row.reveal(false);
    this.#note.open(label, this.#comments[label] ?? '', row.element, row.note);
  }

  #showSelected(id: string | null): void {
    this.#selectedRoi = id;
    const item = [...this.#lower.querySelectorAll<HTMLElement>('[data-roi]')].find((one) => one.dataset['roi'] === id);
    item?.scrollIntoView({ block: 'nearest' });
  }

  #rebuild(task: Task, events: PanelEvents): void {
    const decides = task.opinions.length > 0;
    this.#readers?.switches.remove();
    this.#readers = decides ? new Readers(task.opinions, events) : null;
    this.#disputed = decides ? disputed(task, task.opinions, task.disputed) : [];
    if (this.#readers) this.#rest.before(this.#readers.switches);
    this.#rows.clear();
    for (const label of task.labels) this.#rows.set(label, this.#row(label, task));
    this.#list.replaceChildren(...[...this.#rows.values()].map((row) => row.element));
    this.element.style.setProperty('--readers', String(task.opinions.length));
  }

  #row(label: string, task: Task): Row {
    const events = {
      choose: () => this.#events?.choose(label),
      answer: (answer: Answer) => this.#events?.answer(label, answer),
      withdraw: () => this.#events?.withdraw(label),
      comment: () => (this.#note.label === label ? this.#note.close() : this.openNote(label)),
    };
    const cells = this.#readers === null ? [] : [this.#readers.cells(label)];
    return new Row(label, events, this.#keys, cells, task.page.comments);
  }

  #rowState(task: Task, label: string, state: PanelState, warning: string | undefined): RowState {
    const flags = new Map<Flag, string>();
    if (warning !== undefined) flags.set('warning', warning);
    if (isExcluded(state.answers, task, label)) flags.set('excluded', `Excluded while ${task.noFinding} is present`);
    if (state.asking.includes(label)) flags.set('asks', 'This job asks for a region of it');
    if (this.#disputed.includes(label)) flags.set('disputed', 'The readers do not agree');
    return {
      said: state.answers[label] ?? 'unanswered',
      chosen: label === state.chosen,
      flags,
      regions: state.rois.filter((roi) => roi.label === label).length,
      comment: state.comments[label] ?? '',
    };
  }

  #noRegion(task: Task, { chosen }: PanelState): string {
    const keys = DRAWING.map((command) => keyOf(command, this.#keys)).filter((key) => key !== '');
    if (chosen === task.noFinding || keys.length === 0) return 'No regions.';
    const one = keys.length > 1 ? `${keys.slice(0, -1).join(', ')} or ${keys.at(-1)}` : keys.join('');
    return `No regions. ${one} draws one for ${chosen}.`;
  }
}

function imageComment(): HTMLTextAreaElement {
  const made = h('textarea', {
    class: 'cxr-comment',
    rows: '1',
    maxlength: '2000',
    placeholder: 'Comment on this image',
    'aria-label': 'Comment on this image',
  });
  made.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') made.blur();
  });
  return made;
}
