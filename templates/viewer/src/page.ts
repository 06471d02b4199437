/**
 * The frame of the page: header, tools, stage, dialogs, messages. It shows; reading.ts decides.
 */

import { Beside } from './beside.ts';
import { button, h } from './dom.ts';
import { Guide } from './guide.ts';
import { keyTable } from './help.ts';
import type { Shown } from './image.ts';
import type { Binding } from './keys.ts';
import { MarkLayer } from './marks.ts';
import { patientLine } from './patient.ts';
import type { Command } from './keys.ts';
import type { Point } from './geometry.ts';
import { Place } from './place.ts';
import type { Offer as Offered } from './portal.ts';
import { Rooms } from './rooms.ts';
import { Overlay, unsided } from './overlay.ts';
import type { Mouse, Tool } from './mouse.ts';
import type { PageSettings, Task } from './task.ts';
import { Toolbar, windowButtons } from './toolbar.ts';

export const DISCLAIMER = 'Research use only. Not for clinical decisions.';

/** How long a message without a choice covers the image. */
const MESSAGE_MS = 8000;

const REASONS = ['not frontal', 'not a chest', 'unreadable', 'other'] as const;

export interface PageEvents {
  /** Args: index: of a window, the shipped ones first. */
  window(index: number): void;
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
  readonly stage = h('div', { class: 'cxr-stage', role: 'application', 'aria-label': 'Radiograph: arrows move a crosshair, Enter draws' });
  /** the readers' regions, where a dispute is decided */
  readonly marks = new MarkLayer();
  /** other images of the patient */
  readonly beside = new Beside();
  /** what is written over the image */
  readonly overlay = new Overlay();
  readonly #events: PageEvents;
  readonly #message = h('div', { class: 'cxr-message', hidden: true });
  readonly #failure = h('div', { class: 'cxr-failure', role: 'alert', hidden: true });
  readonly #loading = h('div', { class: 'cxr-loading', role: 'status' }, 'Loading the image …');
  readonly #tags = h('div', { class: 'cxr-tags', 'aria-hidden': 'true' });
  readonly #readout = h('output', { class: 'cxr-readout', 'aria-label': 'Window and zoom' });
  readonly #notes = h('span', { class: 'cxr-notes', role: 'note' });
  readonly #clock = h('span', { class: 'cxr-clock', title: 'Active time on this image' }, '0:00');
  readonly #rooms = new Rooms();
  readonly #item = h('span', { class: 'cxr-item' });
  readonly #patient = h('span');
  readonly #patientBox = h('div', { class: 'cxr-patient', role: 'note', 'aria-label': 'Patient', tabindex: '0' }, this.#patient);
  readonly #guide = new Guide();
  readonly #place: Place;
  readonly #note = h('span', { class: 'cxr-quiet', role: 'status' });
  readonly #keys: HTMLDialogElement;
  readonly #skip: HTMLDialogElement;
  readonly #skipReason = h('select', { 'aria-label': 'Reason', 'data-skip': 'reason' });
  readonly #skipWords = h('input', {
    type: 'text', maxlength: '200', 'data-skip': 'text', 'aria-label': 'In your words',
    placeholder: 'In your words (needed for other)',
  }); // prettier-ignore
  #refused = false;
  #fading: ReturnType<typeof setTimeout> | undefined;
  readonly #toolbar = new Toolbar();
  readonly #windows = h('div', { class: 'cxr-windows', role: 'toolbar', 'aria-label': 'Windows' });
  readonly #keyTable = h('div');

  constructor(events: PageEvents) {
    this.#events = events;
    this.#keys = dialog('Keys', this.#keyTable);
    this.#skip = this.#skipDialog();
    this.#place = new Place((command) => events.run(command));
  }

  /** Show another task; nothing moves but what it says differently. */
  begin(task: Task): void {
    this.#rooms.begin(`Job ${task.jobId}`, `Job ${task.jobId}, image ${task.itemId}`);
    this.#item.textContent = task.itemId.slice(0, 17);
    this.#item.title = task.itemId;
    this.#patient.textContent = patientLine(task.shown);
    this.#patientBox.hidden = this.#patient.textContent === '';
    for (const one of [this.#keys, this.#skip]) one.close();
    this.#skipWords.value = '';
    this.#skipReason.selectedIndex = 0;
    this.#skipWords.hidden = !task.page.comments;
    this.#guide.begin(task);
    this.beside.begin(task.companions);
    this.say('');
    this.showClock(0);
    this.hideView();
  }

  /** Fill the root; Args: panel: the findings, built elsewhere. */
  mount(root: HTMLElement, panel: HTMLElement): void {
    const view = h('div', { class: 'cxr-view' }, this.stage, this.marks.element, this.#tags, this.overlay.element);
    // a live region has to be there before what it says
    view.append(this.#loading, this.#failure, h('div', { role: 'status' }, this.#message));
    root.replaceChildren(
      this.#header(),
      this.#toolbar.element,
      h(
        'main',
        { class: 'cxr-main' },
        h('div', { class: 'cxr-views' }, view, this.beside.element),
        h('div', { class: 'cxr-presets' }, this.#windows, this.#notes, this.#readout),
      ),
      panel,
      this.#keys,
      this.#guide.element,
      this.#skip,
    );
  }

  /** Show which image this is, and the ways to others. */
  showPlace(offer: Offered): void {
    this.#place.show(offer);
    this.#rooms.show(offer.rooms);
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

  /** The image was skipped before, and is open again. Args: reason: as `PageEvents.skip` gave it. */
  skippedBefore(reason: string): void {
    const [, known = 'other', words = ''] = /^([^:]*)(?:: (.*))?$/s.exec(reason) ?? [];
    const listed = REASONS.some((one) => one === known);
    this.#skipReason.value = listed ? known : 'other';
    this.#skipWords.value = listed ? words : reason;
    this.say(`You skipped this: ${reason || 'no reason given'}`);
  }

  showSkip(): void {
    this.#skip.showModal();
  }

  /** Tools, windows and help as a job has them; Args: notes: wishes that could not be met. */
  equip(settings: PageSettings, bindings: readonly Binding[], mouse: Mouse, notes: readonly string[]): void {
    this.#toolbar.equip(bindings, (command) => this.#events.run(command));
    this.#windows.replaceChildren(...windowButtons(settings, bindings, (index) => this.#events.window(index)));
    this.beside.equip(bindings);
    this.#guide.equip(bindings);
    this.#place.equip(bindings);
    this.#keyTable.replaceChildren(keyTable(bindings, mouse, settings, notes));
  }

  showTool(tool: Tool): void {
    this.#toolbar.showTool(tool);
    this.stage.dataset['activeTool'] = tool;
  }

  /** Args: regions: whether they are shown. */
  showView(shown: Shown, regions: boolean): void {
    const { greys, notes, zoom } = shown;
    this.#readout.textContent = `${greys}   ${Math.round(zoom * 100)} %`;
    const said = [...notes, ...(unsided(shown) ? ['the file does not say which side is which'] : [])].join('; ');
    this.#notes.textContent = said === '' ? '' : `⚠ ${said}`;
    this.#notes.title = said;
    for (const one of this.#windows.children) {
      one.setAttribute('aria-pressed', String((one as HTMLElement).dataset['shows'] === shown.window));
    }
    this.#toolbar.showState(shown, regions);
    this.overlay.show(shown, regions);
  }

  /** There is no image to say anything of. */
  hideView(): void {
    this.#readout.textContent = this.#notes.textContent = this.#notes.title = '';
    this.overlay.hide();
    for (const one of this.#windows.children) one.setAttribute('aria-pressed', 'false');
  }

  showClock(ms: number): void {
    const s = Math.floor(ms / 1000);
    this.#clock.textContent = `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
  }

  /** What the message over the image says; empty if there is none. */
  get said(): string {
    return this.#message.hidden ? '' : (this.#message.firstChild?.textContent ?? '');
  }

  /** Say that something was not done; it is taken back by `relent`. */
  refuse(text: string, offers: readonly Offer[] = []): void {
    this.say(text, offers);
    this.#refused = true;
  }

  /** Something was done since: what was refused before needs no saying any more. */
  relent(): void {
    if (this.#refused) this.say('');
  }

  /** Say something over the foot of the image; with offers it stays until one is taken. */
  say(text: string, offers: readonly Offer[] = []): void {
    this.#refused = false;
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
      this.#rooms.element,
      this.#item,
      this.#patientBox,
      this.#place.words,
      this.#place.progress,
      this.#place.steps,
      h('strong', { class: 'cxr-disclaimer' }, DISCLAIMER),
      this.#note,
      this.#clock,
      this.#place.previous,
      this.#place.next,
      this.beside.opener,
      this.#guide.opener,
      opener('keys', '? Keys', this.#keys),
      opener('skip', 'Skip …', this.#skip),
    );
  }

  #skipDialog(): HTMLDialogElement {
    const select = this.#skipReason;
    select.append(...REASONS.map((reason) => h('option', { value: reason }, reason)));
    const other = this.#skipWords;
    const skip = (): void => {
      const words = other.value.trim();
      if (select.value === 'other' && words === '' && !other.hidden) return other.focus();
      made.close();
      this.#events.skip(words === '' ? select.value : `${select.value}: ${words}`);
    };
    const enter = (event: Event): void => {
      if (!(event instanceof KeyboardEvent) || event.key !== 'Enter') return;
      event.preventDefault(); // it would submit the form the page stands in
      skip();
    };
    for (const field of [select, other]) field.addEventListener('keydown', enter);
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
