/**
 * The frame of the page: header, tools, stage, dialogs, messages. It shows; reading.ts decides.
 */

import { Beside } from './beside.ts';
import { button, h, icon } from './dom.ts';
import { Guide } from './guide.ts';
import { ICONS } from './icons.ts';
import { BINDINGS, keyName } from './keys.ts';
import { MarkLayer } from './marks.ts';
import { patientLine } from './patient.ts';
import type { Command } from './keys.ts';
import type { Point } from './geometry.ts';
import type { Position } from './portal.ts';
import type { Tool } from './rois.ts';
import type { Task } from './task.ts';
import { PRESETS } from './windows.ts';
import type { Preset } from './windows.ts';

export const DISCLAIMER = 'Research use only. Not for clinical decisions.';

/** How long a message without a choice covers the image. */
const MESSAGE_MS = 8000;

const TOOLS: readonly (readonly [Tool, string])[] = [
  ['window', 'Window/level (W)'],
  ['pan', 'Pan (M)'],
  ['zoom', 'Zoom (Z)'],
  ['rectangle', 'Rectangle (B)'],
  ['ellipse', 'Ellipse (E)'],
  ['polygon', 'Polygon (G)'],
];
const REASONS = ['not frontal', 'not a chest', 'unreadable', 'other'] as const;

export interface PageEvents {
  tool(tool: Tool): void;
  preset(name: Preset): void;
  run(command: Command): void;
  skip(reason: string): void;
  retry(): void;
}

/** A choice offered beside a message. */
export interface Offer {
  readonly text: string;
  readonly act: () => void;
}

/** A name shown on a region. */
export interface Tag {
  readonly text: string;
  readonly at: Point;
  readonly color: string;
}

export class Page {
  readonly stage = h('div', { class: 'cxr-stage', role: 'application', 'aria-label': 'Radiograph' });
  /** the readers' regions, where a dispute is decided */
  readonly marks = new MarkLayer();
  /** other images of the patient */
  readonly beside = new Beside();
  readonly #events: PageEvents;
  readonly #message = h('div', { class: 'cxr-message', hidden: true });
  readonly #failure = h('div', { class: 'cxr-failure', role: 'alert', hidden: true });
  readonly #loading = h('div', { class: 'cxr-loading', role: 'status' }, 'Loading the image …');
  readonly #tags = h('div', { class: 'cxr-tags', 'aria-hidden': 'true' });
  readonly #readout = h('output', { class: 'cxr-readout', 'aria-label': 'Window and zoom' });
  readonly #notes = h('span', { class: 'cxr-notes', role: 'note' });
  readonly #clock = h('span', { class: 'cxr-clock', title: 'Active time on this image' }, '0:00');
  readonly #job = h('h1');
  readonly #item = h('span', { class: 'cxr-item' });
  readonly #patient = h('span', { class: 'cxr-patient', 'aria-label': 'Patient' });
  readonly #guide = new Guide();
  readonly #place = h('span', { class: 'cxr-place' });
  readonly #progress = h('progress', { class: 'cxr-progress', 'aria-label': 'Images answered' });
  readonly #note = h('span', { class: 'cxr-quiet', role: 'status' });
  readonly #previous: HTMLButtonElement;
  readonly #keys: HTMLDialogElement;
  readonly #skip: HTMLDialogElement;
  #fading: ReturnType<typeof setTimeout> | undefined;
  readonly #buttons = new Map<string, HTMLButtonElement>();

  constructor(events: PageEvents) {
    this.#events = events;
    this.#keys = dialog('Keys', keyTable());
    this.#skip = this.#skipDialog();
    const back = (): void => events.run('previous');
    this.#previous = button({ 'data-action': 'previous', title: 'The image before (PageUp)' }, back, '‹ Previous');
  }

  /** Show another task; nothing moves but what it says differently. */
  begin(task: Task): void {
    this.#job.textContent = `Job ${task.jobId}`;
    this.#item.textContent = task.itemId.slice(0, 17);
    this.#item.title = task.itemId;
    this.#patient.textContent = patientLine(task.shown);
    this.#patient.title = patientLine(task.shown);
    for (const one of [this.#keys, this.#skip]) one.close();
    this.#guide.begin(task);
    this.beside.begin(task.companions);
    this.say('');
  }

  /** Fill the root; Args: panel: the findings, built elsewhere. */
  mount(root: HTMLElement, panel: HTMLElement): void {
    const view = h('div', { class: 'cxr-view' }, this.stage, this.marks.element, this.#tags);
    // a live region has to be there before what it says
    view.append(this.#loading, this.#failure, h('div', { role: 'status' }, this.#message));
    root.replaceChildren(
      this.#header(),
      this.#toolbar(),
      h('main', { class: 'cxr-main' }, h('div', { class: 'cxr-views' }, view, this.beside.element), this.#presets()),
      panel,
      this.#keys,
      this.#guide.element,
      this.#skip,
    );
  }

  /** Show how far the reader is; Args: again: the image was answered before, and is open again. */
  showPlace(position: Position | null, hasPrevious: boolean, again: boolean): void {
    this.#place.hidden = this.#progress.hidden = position === null;
    this.#previous.hidden = !hasPrevious;
    if (position === null) return;
    const { answered, total } = position;
    const at = Math.min(answered + 1, total);
    this.#place.textContent = again ? `answered, open again · ${answered} of ${total}` : `${at} of ${total}`;
    this.#progress.max = total;
    this.#progress.value = answered;
  }

  /** A quiet word in the header, or none. */
  note(text: string): void {
    this.#note.textContent = text;
    this.#note.title = text;
  }

  get dialogOpen(): boolean {
    return this.#keys.open || this.#guide.element.open || this.#skip.open;
  }

  showKeys(): void {
    this.#keys.showModal();
  }

  showGuide(): void {
    this.#guide.open();
  }

  showSkip(): void {
    this.#skip.showModal();
  }

  showTool(tool: Tool): void {
    for (const [name] of TOOLS) {
      this.#buttons.get(name)?.setAttribute('aria-pressed', String(name === tool));
    }
    this.stage.dataset['activeTool'] = tool;
  }

  /** Args: notes: what of the file's greys is not as it says, or empty. */
  showView(readout: string, notes: string, inverted: boolean): void {
    this.#readout.textContent = readout;
    this.#notes.textContent = notes === '' ? '' : `⚠ ${notes}`;
    this.#notes.title = notes;
    this.#buttons.get('invert')?.setAttribute('aria-pressed', String(inverted));
  }

  showClock(ms: number): void {
    const s = Math.floor(ms / 1000);
    this.#clock.textContent = `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
  }

  /** Say something over the foot of the image; with offers it stays until one is taken. */
  say(text: string, offers: readonly Offer[] = []): void {
    clearTimeout(this.#fading);
    if (offers.length === 0) this.#fading = setTimeout(() => this.say(''), MESSAGE_MS);
    const choices = offers.map(({ text: name, act }) => button({}, act, name));
    this.#message.replaceChildren(h('span', {}, text), ...choices);
    this.#message.hidden = text === '';
  }

  showLoading(loading: boolean): void {
    this.#loading.hidden = !loading;
  }

  /** Args: reason: why there is no image; null once there is one, or while it is on its way. */
  showFailure(reason: string | null): void {
    this.#failure.hidden = reason === null;
    if (reason === null) return;
    this.#failure.replaceChildren(
      h('p', {}, `The image cannot be shown: ${reason}.`),
      h('p', {}, 'Your answers are kept.'),
      button({ 'data-action': 'retry' }, () => this.#events.retry(), 'Try again'),
      button({ 'data-action': 'skip-failed' }, () => this.#skip.showModal(), 'Skip this image …'),
    );
  }

  showTags(tags: readonly Tag[]): void {
    this.#tags.replaceChildren(
      ...tags.map(({ text, at, color }) => {
        const tag = h('span', {}, text);
        tag.style.transform = `translate(${at[0]}px, calc(${at[1]}px - 100% - 4px))`;
        tag.style.color = color;
        return tag;
      }),
    );
  }

  #header(): HTMLElement {
    return h(
      'header',
      { class: 'cxr-header' },
      this.#job,
      this.#item,
      this.#patient,
      this.#place,
      this.#progress,
      h('strong', { class: 'cxr-disclaimer' }, DISCLAIMER),
      this.#note,
      this.#clock,
      this.#previous,
      this.beside.opener,
      this.#guide.opener,
      opener('keys', '? Keys', this.#keys),
      opener('skip', 'Skip …', this.#skip),
    );
  }

  #toolbar(): HTMLElement {
    const bar = h('div', { class: 'cxr-toolbar', role: 'toolbar', 'aria-label': 'Tools' });
    bar.setAttribute('aria-orientation', 'vertical');
    const add = (name: keyof typeof ICONS, label: string, kind: string, act: () => void): void => {
      const attributes = { [kind]: name, 'aria-label': label, title: label, 'aria-pressed': 'false' };
      const made = button(attributes, act, icon(ICONS[name]));
      this.#buttons.set(name, made);
      bar.append(made);
    };
    for (const [tool, label] of TOOLS) {
      add(tool, label, 'data-tool', () => this.#events.tool(tool));
    }
    add('invert', 'Invert (I)', 'data-action', () => this.#events.run('invert'));
    add('reset', 'Reset (R)', 'data-action', () => this.#events.run('reset'));
    this.#buttons.get('reset')?.removeAttribute('aria-pressed');
    return bar;
  }

  #presets(): HTMLElement {
    const bar = h('div', { class: 'cxr-presets', role: 'toolbar', 'aria-label': 'Windows' });
    PRESETS.forEach(({ name, text }, i) => {
      const act = (): void => this.#events.preset(name);
      bar.append(button({ 'data-preset': name }, act, h('kbd', {}, String(i + 1)), text));
    });
    bar.append(this.#notes, this.#readout);
    return bar;
  }

  #skipDialog(): HTMLDialogElement {
    const options = REASONS.map((reason) => h('option', { value: reason }, reason));
    const select = h('select', { 'aria-label': 'Reason', 'data-skip': 'reason' }, ...options);
    const other = h('input', {
      type: 'text', maxlength: '200', 'data-skip': 'text', 'aria-label': 'In your words',
      placeholder: 'In your words (needed for other)',
    }); // prettier-ignore
    const skip = (): void => {
      const words = other.value.trim();
      if (select.value === 'other' && words === '') return other.focus();
      made.close();
      this.#events.skip(words === '' ? select.value : `${select.value}: ${words}`);
    };
    other.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      event.preventDefault(); // it would submit the form the page stands in
      skip();
    });
    const go = button({ 'data-action': 'confirm-skip', class: 'cxr-primary' }, skip, 'Skip this image');
    const made = dialog('Skip this image', select, other, go);
    return made;
  }
}

function opener(name: string, text: string, target: HTMLDialogElement): HTMLButtonElement {
  return button({ 'data-action': name, 'aria-haspopup': 'dialog' }, () => target.showModal(), text);
}

function dialog(title: string, ...content: readonly Node[]): HTMLDialogElement {
  const made = h('dialog', { class: 'cxr-dialog', 'aria-label': title }, h('h2', {}, title), ...content);
  made.append(button({ 'data-action': 'close' }, () => made.close(), 'Close'));
  return made;
}

function keyTable(): HTMLElement {
  const rows = BINDINGS.map((binding) =>
    h('div', {}, h('dt', {}, h('kbd', {}, keyName(binding))), h('dd', {}, binding.says)),
  );
  const mouse = 'Mouse: left button as the tool says, middle pans, right or wheel zooms.';
  return h('div', {}, h('dl', { class: 'cxr-keys' }, ...rows), h('p', { class: 'cxr-text' }, mouse));
}
