/**
 * One reading of one radiograph: the answers so far, its regions, and what is left to do.
 *
 * It decides; page.ts, panel.ts and image.ts show. session.ts begins one for each image.
 */

import { toDocument } from './annotation.ts';
import type { Drawn } from './annotation.ts';
import { Bindings } from './binding.ts';
import { leftToDo, sayWhatFollows } from './consequences.ts';
import * as findings from './findings.ts';
import type { Answer, Answers, Change } from './findings.ts';
import { thousandths } from './geometry.ts';
import { texts } from './given.ts';
import { Steps } from './history.ts';
import type { Command } from './keys.ts';
import type { Panel, PanelEvents } from './panel.ts';
import * as opinions from './opinions.ts';
import type { Mark, Opinion } from './opinions.ts';
import { drawOver, measureOf } from './over.ts';
import * as regions from './regions.ts';
import type { Saved } from './saved.ts';
import type { Task } from './task.ts';
import { ActiveClock } from './timing.ts';
import type { Spent } from './timing.ts';
import { STILL_SENT, TOO_EARLY, view } from './viewing.ts';
import type { View } from './viewing.ts';

/** What outlives one image: the parts of the page, and the way to submit. */
export interface Room extends View {
  readonly panel: Panel;
  submit(): void;
  /** What a draft holds may have changed. */
  changed(): void;
}

/** What undo brings back. */
type Undoable = Pick<Saved, 'answers' | 'comments' | 'rois'>;

export class Reading implements PanelEvents {
  readonly task: Task;
  readonly clock = new ActiveClock();
  readonly #room: Room;
  #answers: Answers;
  #comments = texts({});
  #chosen: string;
  /** whether it can be answered: not before the image is there, nor while an answer is sent */
  #open = false;
  readonly #bindings: Bindings;
  readonly #steps = new Steps<Undoable>(() => this.#undoable(), () => this.#chosen);
  /** regions to put on the image once it is there */
  #waiting: readonly Drawn[] = [];

  constructor(room: Room, task: Task) {
    this.#room = room;
    this.task = task;
    this.#bindings = new Bindings(room, {
      noFinding: task.noFinding,
      chosen: () => this.#chosen,
      choose: (label) => void (this.#chosen = label),
      said: (label) => this.#answers[label] ?? 'unanswered',
      answer: (label, answer) => this.answer(label, answer),
      withdraw: (label) => this.withdraw(label),
      together: (act) => this.#together(act),
      draw: () => this.#draw(),
    });
    this.#answers = opinions.prefilled(task, task.opinions, task.disputed);
    this.#chosen = findings.unanswered(this.#answers, task)[0] ?? task.labels[0]!;
  }

  /** The page now shows this reading; its image is still on its way. */
  begin(): void {
    const { page, panel, rois } = this.#room;
    page.begin(this.task);
    panel.begin(this.task, this);
    panel.await('image');
    rois.clear();
    this.#draw();
    panel.reveal(this.#chosen);
  }

  /** The image is on the screen. */
  shown(): void {
    this.clock.start(performance.now(), new Date(), !document.hidden);
    this.#room.rois.restore(this.#waiting);
    this.#waiting = [];
    this.#open = true;
    this.#room.panel.await('');
    if (this.#room.page.said === TOO_EARLY) this.#room.page.relent();
    this.#draw();
    this.#steps.begin();
  }

  /** Let the answer be changed, or not, while it is being sent. */
  open(open: boolean): void {
    this.#open = open;
    this.#room.panel.await(open ? '' : 'sending');
  }

  /** What a page loaded anew needs to go on from here. */
  snapshot(): Saved {
    return { ...this.#undoable(), comment: this.#room.panel.comment.value, chosen: this.#chosen };
  }

  /** What is kept with a snapshot, and changes all the time. */
  stamp(): { readonly spent: Spent | null; readonly savedAt: number } {
    return { spent: this.clock.spent(performance.now()), savedAt: Date.now() };
  }

  /** Go on from a snapshot; regions appear with the image. */
  restore(saved: Saved): void {
    const { labels } = this.task;
    const known = Object.entries(saved.answers).filter(([label]) => labels.includes(label));
    const answers = Object.assign(findings.start(this.task), Object.fromEntries(known));
    this.#answers = findings.followed(answers, this.task);
    if (labels.includes(saved.chosen)) this.#chosen = saved.chosen;
    this.#comments = texts(saved.comments);
    this.#room.panel.comment.value = saved.comment;
    const drawn = saved.rois.filter((roi) => labels.includes(roi.label));
    if (this.#room.radiograph.ready) this.#room.rois.restore(drawn);
    else this.#waiting = drawn;
    this.#draw();
  }

  /** The reader turned from what was being typed: that is one step to undo. */
  pause(): void {
    if (this.#open) this.#steps.remember();
  }

  /** A mouse button went down or up. */
  drag(down: boolean): void {
    if (this.#open) this.#steps.hold(down);
  }

  run(command: Command): void {
    if (view(command, this.#room, this.task.page)) return;
    if (this.#tooEarly()) return;
    if (command === 'submit') return this.#room.submit();
    switch (command) {
      case 'undo':
        return this.#bindings.takeBack() ? undefined : this.#goTo(this.#steps.undo());
      case 'redo':
        return this.#goTo(this.#steps.redo());
      case 'finding-up':
      case 'finding-down':
        return this.choose(findings.neighbour(this.task, this.#chosen, command === 'finding-up' ? -1 : 1));
      case 'present':
      case 'uncertain':
      case 'absent':
        this.answer(this.#chosen, command);
        return this.#goOn();
      case 'no-finding':
        if (this.task.noFinding !== null) this.#chosen = this.task.noFinding;
        this.#apply(findings.noFindingRestAbsent(this.#answers, this.task));
        return this.#goOn();
      case 'rest-absent':
        return this.restAbsent();
      case 'unanswered':
        return this.withdraw(this.#chosen);
      case 'comment':
        return this.#room.panel.comment.focus();
      case 'comment-finding':
        return this.#room.panel.openNote(this.#chosen);
      case 'delete':
        return this.#bindings.removeLast();
      case 'rebind':
        return this.#bindings.rebindSelected();
    }
  }

  choose(label: string): void {
    this.#room.page.relent();
    this.#turnTo(label);
  }

  answer(label: string, answer: Answer): void {
    this.#chosen = label;
    this.#bindings.spoken(label);
    this.#apply(findings.answer(this.#answers, this.task, label, answer));
  }

  withdraw(label: string): void {
    this.#chosen = label;
    this.#apply(findings.withdraw(this.#answers, this.task, label));
  }

  comment(label: string, text: string): void {
    if (this.#tooEarly()) return;
    this.#comments = Object.assign(Object.create(null), this.#comments, { [label]: text });
    this.#draw();
  }

  restAbsent(): void {
    this.#apply(findings.restAbsent(this.#answers, this.task));
  }

  selectRoi(id: string): void {
    this.#room.rois.select(id);
    const label = this.#room.rois.read(id)?.label;
    if (label !== undefined) this.choose(label);
  }

  removeRoi(id: string): void {
    if (!this.#tooEarly()) this.#room.rois.remove(id);
  }

  rebindRoi(id: string, label: string): void {
    if (!this.#tooEarly()) this.#bindings.rebind(id, label);
  }

  showRoi(id: string, visible: boolean): void {
    this.#room.rois.show(id, visible);
  }

  take(reader: Opinion, label: string): void {
    this.#chosen = label;
    this.#apply(opinions.take(this.#answers, this.task, reader, label));
  }

  copyMark(mark: Mark): void {
    if (!this.#tooEarly() && this.#room.radiograph.ready) this.#bindings.copy(mark);
  }

  showReaders(): void {
    this.drawView();
  }

  /** A region was drawn. */
  completed(id: string): void {
    if (this.#open) this.#bindings.completed(id);
    else this.#room.rois.remove(id);
  }

  /** Something about the regions changed on the image. */
  changed(): void {
    this.#draw();
    this.#bindings.reconsider();
    this.#remember();
  }

  /** The view moved: what lies over the image moves with it. */
  drawView(): void {
    const { page, radiograph, rois } = this.#room;
    if (radiograph.ready) page.showView(radiograph.shown(), rois.shown);
    drawOver(this.#room, this.task, this.#answers, rois.drawn());
  }

  /** Whether the answer can be submitted; if not, the page says what is left to do. */
  complete(): boolean {
    const { page, panel } = this.#room;
    const left = leftToDo(this.#room, this.task, this.#answers);
    if (left === null) return true;
    if (left.label !== '') this.#turnTo(left.label);
    panel.reveal(left.label, true);
    if (left.orphan) this.#bindings.ask(left.orphan.id, left.says);
    else page.refuse(left.says, left.asked ? this.#bindings.readersOffers(left.label, this.task.opinions) : []);
    return false;
  }

  /** The answer as it is submitted; Args: skip: why the image is skipped, or null. */
  document(skip: string | null): object {
    const { panel, radiograph, rois } = this.#room;
    return toDocument({
      task: this.task,
      set: this.task,
      answers: this.#answers,
      drawn: rois.drawn(),
      image: radiograph.facts,
      view: radiograph.view(),
      comment: panel.comment.value,
      comments: this.#comments,
      skip,
      timing: this.clock.report(performance.now(), new Date()),
    });
  }

  #apply(change: Change): void {
    if (this.#tooEarly()) return;
    const before = this.#answers;
    this.#answers = findings.followed(change.answers, this.task, before);
    sayWhatFollows(this.#room, this.#bindings, this.task, { before, after: this.#answers, note: change.note });
    this.#draw();
    this.#bindings.reconsider();
    this.#remember();
  }

  /** What is done here is one step to undo. */
  #together(act: () => void): void {
    this.#steps.hold(true);
    act();
    this.#steps.hold(false);
  }

  /** On to the next finding, with what was just said left standing. */
  #goOn(): void {
    this.#turnTo(findings.nextUnanswered(this.#answers, this.task, this.#chosen));
  }

  #turnTo(label: string): void {
    this.#chosen = label;
    if (this.#open) this.#steps.remember(); // undo comes back to where one was
    this.#draw();
    this.#room.panel.reveal(label);
  }

  /** Whether nothing can be answered now; it is said. */
  #tooEarly(): boolean {
    if (!this.#open) this.#room.page.refuse(this.#room.radiograph.ready ? STILL_SENT : TOO_EARLY);
    return !this.#open;
  }

  #undoable(): Undoable {
    const rois = this.#waiting.length > 0 ? this.#waiting : this.#room.rois.drawn();
    const tidy = rois.map((roi) => ({ ...roi, points: roi.points.map(thousandths) }));
    return { answers: { ...this.#answers }, comments: { ...this.#comments }, rois: tidy };
  }

  #remember(): void {
    if (!this.#open) return;
    this.#steps.remember();
    this.#room.changed();
  }

  #goTo(state: Undoable | null): void {
    if (!state) return;
    this.#room.page.say('');
    this.restore({ ...state, comment: this.#room.panel.comment.value, chosen: this.#steps.place });
    this.#room.panel.reveal(this.#chosen);
    this.#room.changed();
  }

  #draw(): void {
    const { panel, radiograph, rois } = this.#room;
    const drawn = radiograph.ready ? rois.drawn() : [];
    for (const roi of drawn) rois.paint(roi.id, regions.color(roi, this.#answers));
    panel.update({
      answers: this.#answers,
      chosen: this.#chosen,
      rois: drawn,
      selectedRoi: radiograph.ready ? rois.selected : null,
      hidden: rois.hidden,
      comments: this.#comments,
      asking: regions.asking(drawn, this.#answers, this.task),
      measure: measureOf(this.#room),
    });
    this.drawView();
  }
}
