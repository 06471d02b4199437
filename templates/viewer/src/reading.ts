/**
 * One reading of one radiograph: the answers so far, its regions, and what is left to do.
 *
 * It decides; page.ts, panel.ts and image.ts show.
 */

import { toDocument, refusal } from './annotation.ts';
import type { Drawn } from './annotation.ts';
import * as findings from './findings.ts';
import type { Answer, Answers, Change } from './findings.ts';
import { ImageError } from './file.ts';
import { Radiograph } from './image.ts';
import * as input from './input.ts';
import type { Command } from './keys.ts';
import { Page } from './page.ts';
import { Panel } from './panel.ts';
import * as regions from './regions.ts';
import { Rois } from './rois.ts';
import type { Tool } from './rois.ts';
import type { Task } from './task.ts';
import { ActiveClock } from './timing.ts';
import { PRESETS } from './windows.ts';

const READY = 'cxrReady';

/** The two elements of the template that the page works with. */
export interface Form {
  readonly field: HTMLInputElement;
  readonly submitButton: HTMLElement;
}

export class Reading {
  readonly #task: Task;
  readonly #form: Form;
  readonly #page: Page;
  readonly #panel: Panel;
  readonly #radiograph: Radiograph;
  readonly #rois: Rois;
  readonly #clock = new ActiveClock(performance.now(), !document.hidden);
  readonly #startedAt = new Date().toISOString();
  #answers: Answers;
  #chosen: string;
  #skip: string | null = null;

  constructor(root: HTMLElement, form: Form, task: Task) {
    this.#form = form;
    this.#task = task;
    this.#answers = findings.start(task);
    this.#chosen = task.labels[0]!;
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
    this.#panel.foot.append(form.submitButton);
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
    input.listenKeys((command) => !this.#page.dialogOpen && (this.#run(command), true));
    input.listenActivity(this.#clock, (ms) => this.#page.showClock(ms));
    input.listenStage(this.#page.stage, (factor, at) => {
      if (this.#radiograph.ready) this.#radiograph.zoom(factor, at);
    });
    input.listenSubmit(root, () => this.#fill());
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
        this.#apply(findings.noFindingRestAbsent(this.#answers, this.#task));
        return this.#choose(findings.nextUnanswered(this.#answers, this.#task, this.#chosen));
      case 'rest-absent':
        return this.#apply(findings.restAbsent(this.#answers, this.#task));
      case 'submit':
        return this.#form.submitButton.click();
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
    this.#page.say(regions.orphan(this.#rois.drawn(), this.#answers)?.says ?? (change.note || contradiction || ''));
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

  #selectRoi(id: string): void {
    this.#rois.select(id);
    const label = this.#rois.read(id)?.label;
    if (label !== undefined) this.#choose(label);
  }

  /** Write the answer into the form; false, with a word why, if there is something left to do. */
  #fill(): boolean {
    if (this.#skip === null && !this.#complete()) return false;
    this.#form.field.value = JSON.stringify(this.#document());
    return true;
  }

  #complete(): boolean {
    const { facts } = this.#radiograph;
    if (facts === null) {
      this.#page.say('There is no image to answer on: try again, or skip it');
      return false;
    }
    if (this.#rois.drawing) {
      this.#page.say('A region is still being drawn: finish it, or drop it with Esc');
      return false;
    }
    const left = regions.left(this.#rois.drawn(), this.#answers, this.#task, facts);
    if (left === null) return true;
    this.#page.say(left.says);
    const { label } = left;
    this.#choose(label);
    this.#panel.reveal(label, true);
    return false;
  }

  #submitSkip(reason: string): void {
    this.#skip = reason;
    this.#form.submitButton.click();
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
    for (const roi of rois) this.#rois.paint(roi.id, regions.color(roi, this.#answers));
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
    const { greys, notes, zoom, inverted } = this.#radiograph.shown();
    this.#page.showView(`${greys}   ${Math.round(zoom * 100)} %`, notes.join('; '), inverted);
    this.#drawTags(this.#rois.drawn());
  }

  #drawTags(rois: readonly Drawn[]): void {
    const tags = regions.tags(rois, this.#answers, (point) => this.#radiograph.toScreen(point));
    this.#page.showTags(tags);
  }
}
