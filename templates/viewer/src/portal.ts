/**
 * The portal behind the page, where there is one: what it offers, drafts, fresh links.
 *
 * In Ground Truth there is none: no next image, no drafts on a server, no way back.
 */

import { readDispute } from './dispute.ts';
import type { Dispute } from './dispute.ts';
import { finite, isRecord, items, path, record, text } from './given.ts';
import type { Given } from './given.ts';
import type { Room } from './rooms.ts';
import { readDocument, readSaved } from './saved.ts';
import type { Draft, Saved } from './saved.ts';
import { readTask } from './task.ts';
import type { Task } from './task.ts';

export interface Position {
  readonly answered: number;
  readonly total: number;
}

/** An image to read, and what is known of the reading. */
export interface Offer {
  /** empty in Ground Truth */
  readonly id: string;
  readonly task: Task;
  readonly submitUrl: string;
  /** empty where no drafts are kept */
  readonly draftUrl: string;
  readonly draft: Draft | null;
  /** an answer that was given before, and is open again */
  readonly answer: Saved | null;
  /** answers kept so far, of which `answer` is the newest; a draft goes on from one of them */
  readonly versions: number;
  readonly position: Position | null;
  /** the task answered before this one */
  readonly previous: string | null;
  /** the one answered after this, or the open one; null where this is the open one */
  readonly next: string | null;
  /** which of the reader's images it is, from 1 */
  readonly number: number | null;
  /** the portal's other pages; none in Ground Truth */
  readonly rooms: readonly Room[];
  /** only where disputes are decided */
  readonly dispute: Dispute | null;
}

/** The portal said no; `status` is 0 where it cannot be reached. */
export class PortalError extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

/** What a browser sends after its page is gone holds this many bytes at most. */
const KEEPALIVE_BYTES = 60_000;

export class Portal {
  /** Give the portal that the page was served by, or null. */
  static find(): Portal | null {
    return meta('cxr-submit-url') === '' ? null : new Portal();
  }

  /** Whether it can name the next image: disputes are picked one by one. */
  get looksAhead(): boolean {
    return meta('cxr-submit-url').startsWith('/tasks/');
  }

  /** Give what the page was served with; Args: task: of the template. */
  first(task: Task): Offer {
    const given = parse(meta('cxr-offer'));
    return { ...readOffer(given, task), submitUrl: meta('cxr-submit-url') };
  }

  /** Answers are this task's from now on. */
  point(offer: Offer): void {
    document.querySelector('meta[name="cxr-submit-url"]')?.setAttribute('content', offer.submitUrl);
  }

  /** The image that comes after this one, or null. Throws PortalError. */
  async ahead(): Promise<Offer | null> {
    return offerIn(await this.#get('/api/ahead'));
  }

  /** An image with fresh links. Throws PortalError. */
  async task(id: string): Promise<Offer | null> {
    const kind = this.looksAhead ? 'tasks' : 'disputes';
    return offerIn(await this.#get(`/api/${kind}/${encodeURIComponent(id)}`));
  }

  /** Keep a draft; Args: leaving: the page is going away. Throws PortalError. */
  async save({ draftUrl, versions }: Offer, draft: string, leaving: boolean): Promise<void> {
    const url = `${draftUrl}?versions=${versions}`;
    let response = await this.#put(url, draft, leaving);
    if (response.status === 403 && !leaving && (await this.#renew())) {
      response = await this.#put(url, draft, false);
    }
    if (response.status === 409) return; // there is an answer that is newer than what it goes on from
    if (response.ok) return;
    const said: unknown = await response.json().catch(() => null);
    throw new PortalError(response.status, text(record(said)['error']) || `the portal answered ${response.status}`);
  }

  async #put(url: string, body: string, leaving: boolean): Promise<Response> {
    try {
      return await fetch(url, {
        method: 'PUT',
        headers: { 'Content-Type': 'application/json', 'X-CSRF': meta('cxr-csrf') },
        body,
        keepalive: leaving && body.length < KEEPALIVE_BYTES,
      });
    } catch {
      throw new PortalError(0, 'the portal cannot be reached');
    }
  }

  /** A portal that was started anew wants another token of its pages; true if it gave one. */
  async #renew(): Promise<boolean> {
    const token = text(record(await this.#get('/api/csrf'))['csrf']);
    if (token === '' || token === meta('cxr-csrf')) return false;
    document.querySelector('meta[name="cxr-csrf"]')?.setAttribute('content', token);
    return true;
  }

  async #get(url: string): Promise<unknown> {
    let response: Response;
    try {
      response = await fetch(url, { headers: { Accept: 'application/json' } });
    } catch {
      throw new PortalError(0, 'the portal cannot be reached');
    }
    const said: unknown = await response.json().catch(() => null);
    if (response.ok) return said;
    throw new PortalError(response.status, text(record(said)['error']) || `it answered ${response.status}`);
  }
}

/** Where there is no portal. */
export function loneOffer(task: Task): Offer {
  return readOffer(null, task);
}

/** Find the offer in a reply of the portal; null if it has none. */
export function offerIn(reply: unknown): Offer | null {
  const given = record(record(reply)['task']);
  return isRecord(given['input']) ? readOffer(given, readTask(given['input'])) : null;
}

function readOffer(given: unknown, task: Task): Offer {
  const offer = record(given);
  const versions = finite(offer['versions']) ?? 0;
  return {
    id: text(offer['id']),
    task,
    submitUrl: text(offer['submitUrl']),
    draftUrl: text(offer['draftUrl']),
    draft: readSaved(offer['draft'], versions),
    answer: readDocument(offer['answer']),
    versions,
    position: readPosition(offer['position']),
    previous: text(offer['previous']) || null,
    next: text(offer['next']) || null,
    number: finite(offer['number']),
    rooms: items(offer['rooms'], readRoom),
    dispute: readDispute(offer['dispute']),
  };
}

function readRoom(given: Given): Room | null {
  const room = { text: text(given['text']), url: path(given['url']) };
  return room.text !== '' && room.url !== '' ? room : null;
}

function readPosition(given: unknown): Position | null {
  const answered = finite(record(given)['answered']);
  const total = finite(record(given)['total']);
  return answered !== null && total !== null && answered >= 0 && total > 0 ? { answered, total } : null;
}

function meta(name: string): string {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? '';
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
