/**
 * The worker page: one radiograph, its findings, its regions, one answer.
 *
 * Starts itself when its script runs. In Ground Truth scripts may run again and elements may move
 * while crowd-html-elements wraps the form, so it starts once per root and looks nothing up late.
 */

import { toDocument, refusal } from './annotation.ts';
import type { Drawn } from './annotation.ts';
import { isTyping } from './dom.ts';
import * as findings from './findings.ts';
import type { Answer, Answers, Change } from './findings.ts';
import { corners } from './geometry.ts';
import { Radiograph, ImageError } from './image.ts';
import { commandOf } from './keys.ts';
import type { Command } from './keys.ts';
import { Page } from './page.ts';
import type { Tag } from './page.ts';
import { Panel } from './panel.ts';
import { Rois } from './rois.ts';
import type { Tool } from './rois.ts';
import { adopt, COLORS } from './style.ts';
import { parseTask, TaskError } from './task.ts';
import type { Task } from './task.ts';
import { ActiveClock } from './timing.ts';
import { PRESETS } from './windows.ts';

const READY = 'cxrReady';

class WorkerPage {
  readonly #task: Task;
  readonly #field: HTMLInputElement;
  readonly #submitButton: HTMLElement;
  readonly #page: Page;
  readonly #panel: Panel;
  readonly #radiograph: Radiograph;
  readonly #rois: Rois;
  readonly #clock = new ActiveClock(performance.now(), !document.hidden);
  readonly #startedAt = new Date().toISOString();
  #answers: Answers;
  #chosen: string;
  #skip: string | null = null;

  constructor(root: HTMLElement, task: Task) {
    this.#task = task;
    this.#answers = findings.start(task);
    this.#chosen = task.labels[0]!;
    this.#field = required(document.querySelector('input[name="annotation"]'));
    this.#submitButton = required(document.querySelector('crowd-button[form-action="submit"]'));
    this.#page = new Page(task, {
      tool: (tool) => this.#use(tool),
      preset: (name) => this.#radiograph.ready && this.#radiograph.usePreset(name),
      invert: () => this.#run('invert'),
      reset: () => this.#run('reset'),
      skip: (reason) => this.#submitSkip(reason),
      retry: () => void this.#load(),
    });
    this.#panel = new Panel(task, {
      choose: (label) => this.#choose(label),
      answer: (label, answer) => this.#answer(label, answer),
      restAbsent: () => this.#run('rest-absent'),
      selectRoi: (id) => this.#selectRoi(id),
      removeRoi: (id) => this.#rois.remove(id),
    });
    this.#radiograph = new Radiograph(this.#page.stage, () => this.#drawView());
    this.#rois = new Rois(this.#radiograph, {
      completed: (id) => this.#completed(id),
      changed: () => this.#draw(),
    });
    this.#page.mount(root, this.#panel.element);
    this.#panel.foot.append(this.#submitButton);
    this.#listen(root);
    this.#draw();
  }

  async start(): Promise<void> {
    this.#radiograph.prefetch(this.#task.imageUrl);
    await this.#radiograph.boot();
    this.#rois.boot();
    this.#use('window');
    await this.#load();
  }

  async #load(): Promise<void> {
    this.#page.showLoading(true, null);
    try {
      await this.#radiograph.load(this.#task.imageUrl);
    } catch (error) {
      if (!(error instanceof ImageError)) console.error(error);
      this.#page.showLoading(false, error instanceof ImageError ? error.message : String(error));
      return;
    }
    this.#page.showLoading(false, null);
    document.documentElement.dataset[READY] = '1';
  }

  #listen(root: HTMLElement): void {
    document.addEventListener('keydown', (event) => this.#key(event), { capture: true });
    for (const name of ['pointermove', 'pointerdown', 'keydown', 'wheel']) {
      const touch = (): void => this.#clock.touch(performance.now());
      document.addEventListener(name, touch, { capture: true, passive: true });
    }
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.#clock.hide(performance.now());
      else this.#clock.touch(performance.now());
    });
    setInterval(() => this.#page.showClock(this.#clock.active(performance.now())), 1000);
    this.#listenStage(this.#page.stage);
    // before the button's own handler, and again for a form submitted without it
    root.addEventListener('click', (event) => {
      const submits = event.target instanceof Element && event.target.closest('crowd-button');
      if (submits && !this.#fill()) event.stopImmediatePropagation();
    }, { capture: true }); // prettier-ignore
    document.querySelector('crowd-form')?.addEventListener('submit', (event) => {
      if (!this.#fill()) event.preventDefault();
    });
    this.#panel.comment.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.#panel.comment.blur();
    });
  }

  #listenStage(stage: HTMLElement): void {
    // Cornerstone swallows every key on its element, Tab too: the keyboard would be trapped there
    stage.parentElement?.addEventListener('keydown', (event) => event.stopPropagation(), true);
    stage.addEventListener('contextmenu', (event) => event.preventDefault());
    stage.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        if (!this.#radiograph.ready) return;
        const box = stage.getBoundingClientRect();
        const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
        const factor = Math.exp((-event.deltaY * lines) / 500);
        this.#radiograph.zoom(factor, [event.clientX - box.left, event.clientY - box.top]);
      },
      { passive: false },
    );
  }

  #key(event: KeyboardEvent): void {
    const command = commandOf(event);
    if (command === null || this.#page.dialogOpen) return;
    if (isTyping(event.target) && command !== 'submit') return;
    event.preventDefault();
    this.#run(command);
  }

  #run(command: Command): void {
    const image = this.#radiograph;
    switch (command) {
      case 'finding-up':
      case 'finding-down':
        return this.#choose(
          findings.neighbour(this.#task, this.#chosen, command === 'finding-up' ? -1 : 1),
        );
      case 'present':
      case 'uncertain':
      case 'absent':
        this.#answer(this.#chosen, command);
        return this.#choose(findings.nextUnanswered(this.#answers, this.#task, this.#chosen));
      case 'no-finding':
        if (this.#task.noFinding !== null) this.#chosen = this.#task.noFinding;
        this.#apply(findings.noFinding(this.#answers, this.#task));
        return this.#choose(findings.nextUnanswered(this.#answers, this.#task, this.#chosen));
      case 'rest-absent':
        return this.#apply(findings.restAbsent(this.#answers, this.#task));
      case 'submit':
        return this.#submitButton.click();
      case 'help':
        return this.#page.showKeys();
      case 'cancel':
        return void (image.ready && (this.#rois.cancel() || this.#rois.select(null)));
      case 'delete':
        return this.#rois.selected === null ? undefined : this.#rois.remove(this.#rois.selected);
      case 'invert':
        return image.ready ? image.toggleInvert() : undefined;
      case 'reset':
        return image.ready ? image.reset() : undefined;
      default:
        if (command.startsWith('tool-')) return this.#use(command.slice(5) as Tool);
        return image.ready ? image.usePreset(PRESETS[Number(command.slice(7)) - 1]!.name) : undefined;
    }
  }

  #use(tool: Tool): void {
    this.#rois.use(tool);
    this.#page.showTool(tool);
  }

  #choose(label: string): void {
    this.#chosen = label;
    this.#draw();
    this.#panel.reveal(label);
  }

  #answer(label: string, answer: Answer): void {
    this.#chosen = label;
    this.#apply(findings.answer(this.#answers, this.#task, label, answer));
  }

  #apply(change: Change): void {
    this.#answers = change.answers;
    const [contradiction] = findings.warnings(this.#answers, this.#task).values();
    this.#page.say(this.#orphan()?.says ?? (change.note || contradiction || ''));
    this.#draw();
  }

  /** A region was drawn: bind it to the chosen finding, or say why it cannot stay. */
  #completed(id: string): void {
    const drawn = this.#rois.read(id);
    const { facts } = this.#radiograph;
    if (!drawn || !facts) return;
    const label = this.#chosen;
    const refused =
      label === this.#task.noFinding
        ? `${label} has no region: choose the finding first`
        : refusal(drawn, facts);
    if (refused !== '') {
      this.#rois.remove(id);
      return this.#page.say(refused);
    }
    this.#rois.bind(id, label);
    const said = this.#answers[label];
    if (said === 'unanswered') this.#answer(label, 'present');
    else if (said === 'absent') this.#ask(id, label);
    this.#draw();
  }

  /** A region on an absent finding: ask, without standing in the way. */
  #ask(id: string, label: string): void {
    const settle = (act: () => void) => (): void => {
      this.#page.say('');
      act();
    };
    this.#page.say(`${label} is marked absent, and now has a region.`, [
      { text: 'Set present', act: settle(() => this.#answer(label, 'present')) },
      { text: 'Set uncertain', act: settle(() => this.#answer(label, 'uncertain')) },
      { text: 'Delete the region', act: settle(() => this.#rois.remove(id)) },
    ]);
  }

  /** A region whose finding is absent or unanswered. */
  #orphan(): { label: string; says: string } | null {
    const roi = this.#rois.drawn().find(({ label }) => {
      const said = this.#answers[label];
      return said !== 'present' && said !== 'uncertain';
    });
    if (!roi) return null;
    const { label } = roi;
    const said = this.#answers[label] ?? 'unanswered';
    return { label, says: `${label} is ${said} but has a region: change one of them` };
  }

  #selectRoi(id: string): void {
    this.#rois.select(id);
    const label = this.#rois.read(id)?.label;
    if (label !== undefined) this.#choose(label);
  }

  /** Write the answer into the form; false, with a word why, if there is something left to do. */
  #fill(): boolean {
    if (this.#skip === null && !this.#complete()) return false;
    this.#field.value = JSON.stringify(this.#document());
    return true;
  }

  #complete(): boolean {
    if (this.#radiograph.facts === null) {
      this.#page.say('There is no image to answer on: try again, or skip it');
      return false;
    }
    if (this.#rois.drawing) {
      this.#page.say('A region is still being drawn: finish it, or drop it with Esc');
      return false;
    }
    const left = findings.unanswered(this.#answers, this.#task);
    const orphan = this.#orphan();
    const label = left[0] ?? orphan?.label;
    if (label === undefined) return true;
    const more = left.length > 1 ? ` and ${left.length - 1} more` : '';
    const unanswered = left.length > 0 ? `Unanswered: ${label}${more}` : null;
    this.#page.say(unanswered ?? orphan?.says ?? '');
    this.#choose(label);
    this.#panel.reveal(label, true);
    return false;
  }

  #submitSkip(reason: string): void {
    this.#skip = reason;
    this.#submitButton.click();
    this.#skip = null; // if sending fails, the next submit is an answer again
  }

  #document(): object {
    const now = performance.now();
    return toDocument({
      task: this.#task,
      set: this.#task,
      answers: this.#answers,
      drawn: this.#rois.drawn(),
      image: this.#radiograph.facts,
      view: this.#radiograph.view(),
      comment: this.#panel.comment.value,
      skip: this.#skip,
      timing: {
        startedAt: this.#startedAt,
        submittedAt: new Date().toISOString(),
        activeMs: this.#clock.active(now),
        totalMs: this.#clock.total(now),
      },
    });
  }

  #draw(): void {
    const rois = this.#radiograph.ready ? this.#rois.drawn() : [];
    for (const roi of rois) this.#rois.paint(roi.id, this.#color(roi));
    this.#panel.update({
      answers: this.#answers,
      chosen: this.#chosen,
      rois,
      selectedRoi: this.#radiograph.ready ? this.#rois.selected : null,
    });
    if (this.#radiograph.ready) {
      this.#radiograph.viewport.render();
      this.#drawTags(rois);
    }
  }

  #drawView(): void {
    const { centre, width, zoom, inverted } = this.#radiograph.shown();
    const window = `W ${Math.round(width)}   L ${Math.round(centre)}`;
    this.#page.showView(`${window}   ${Math.round(zoom * 100)} %`, inverted);
    this.#drawTags(this.#rois.drawn());
  }

  #drawTags(rois: readonly Drawn[]): void {
    const tags = rois.map((roi): Tag => {
      const [at] = corners(roi.points.map((point) => this.#radiograph.toScreen(point)));
      return { text: roi.label, at, color: this.#color(roi) };
    });
    this.#page.showTags(tags);
  }

  #color(roi: Drawn): string {
    const said = this.#answers[roi.label];
    return said === 'present' || said === 'uncertain' ? COLORS[said] : COLORS.wrong;
  }
}

function required<T>(found: T | null): T {
  if (found === null) throw new TaskError('the template lacks its form field or submit button');
  return found;
}

function start(): void {
  const root = document.getElementById('cxr-root');
  if (!root || root.dataset['started'] === '1') return;
  root.dataset['started'] = '1';
  adopt();
  try {
    const task = parseTask(root.dataset['task'] ?? '', root.dataset['image'] ?? '');
    const page = new WorkerPage(root, task);
    page.start().catch((error: unknown) => fail(root, error));
  } catch (error) {
    fail(root, error);
  }
}

/** Only for what is wrong with the page itself; images fail in `Page.showLoading`. */
function fail(root: HTMLElement, error: unknown): void {
  console.error(error);
  const message = document.createElement('p');
  message.setAttribute('role', 'alert');
  message.textContent = `This page cannot start: ${error instanceof Error ? error.message : String(error)}`;
  root.append(message);
}

if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start);
else start();
