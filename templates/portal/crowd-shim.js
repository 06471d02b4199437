/**
 * What a worker template may expect of https://assets.crowd.aws/crowd-html-elements.js, for the
 * local portal: the same element names and the same way of collecting answers, nothing more.
 *
 * The page that loads it names where answers go:
 *   <meta name="cxr-submit-url" content="/…">   POSTed {"<field>": "<value>", …} as JSON
 *   <meta name="cxr-csrf" content="…">          sent as header X-CSRF
 * The portal replies {"next": "/url", …} with 200, or {"error": "one line"}. A reply is dispatched on
 * the document as `cxr-answered`, {detail: reply}: a page that prevents it goes on by itself and may
 * submit again; otherwise the browser goes to `next`. `cxr-refused` says that it was not accepted,
 * and `cxr-sending` that an answer is on its way: either of the others follows.
 */
(() => {
  'use strict';

  const SEND_MS = 30_000;
  const STILL_HERE = 'Your answer is still on this page: submit it again.';
  const HINTS = {
    401: 'Sign in again in another window, then submit: your answer is still on this page.',
    410: 'Another reader may have it now. Your answer is still on this page; reload it for your next image.',
    413: 'Remove some regions, then submit again: your answer is still on this page.',
    423: 'The lead closed the job. Your answer is still on this page.',
  };
  const STYLE = `
    crowd-button { display: inline-grid; place-items: center; padding: 0 16px; cursor: pointer; user-select: none; }
    crowd-alert { display: block; padding: 8px 12px; border: 1px solid currentColor; border-radius: 5px; }
    .crowd-failed { position: fixed; z-index: 10; top: 52px; left: 50%; transform: translateX(-50%);
      display: flex; align-items: center; gap: 12px; max-width: min(720px, 90vw); padding: 10px 16px;
      border: 1px solid #ff7b72; border-radius: 6px; background: #2a1214; color: #ffdcd7;
      font: 14px/1.35 system-ui, sans-serif; }
    .crowd-failed[hidden] { display: none; }
    .crowd-failed button { min-height: 32px; padding: 0 12px; border: 1px solid #ff7b72; border-radius: 5px;
      background: none; color: inherit; font: inherit; cursor: pointer; }
  `;

  function setting(name) {
    return document.querySelector(`meta[name="${name}"]`)?.content ?? '';
  }

  /** Run once the children of an element that is still being parsed are there. */
  function whenParsed(act) {
    if (document.readyState !== 'loading') act();
    else document.addEventListener('DOMContentLoaded', act, { once: true });
  }

  /** The answers under a form, as Ground Truth names them: by `name`, inputs as strings. */
  function collect(form) {
    const answers = {};
    for (const element of form.querySelectorAll('[name]')) {
      const name = element.getAttribute('name');
      const value = valueOf(element);
      if (!name || element.disabled || value === undefined) continue;
      const both = typeof value === 'object' && typeof answers[name] === 'object';
      answers[name] = both ? { ...answers[name], ...value } : value;
    }
    return answers;
  }

  function valueOf(element) {
    switch (element.localName) {
      case 'crowd-input':
      case 'crowd-text-area':
      case 'crowd-checkbox':
      case 'textarea':
      case 'select':
        return element.value;
      case 'input':
        if (element.type === 'checkbox' || element.type === 'radio') {
          return { [element.value]: element.checked };
        }
        return element.value;
      default:
        return undefined;
    }
  }

  /** Elements move when crowd-form wraps them, and are then connected a second time. */
  class OnceElement extends HTMLElement {
    #connected = false;

    connectedCallback() {
      if (this.#connected) return;
      this.#connected = true;
      whenParsed(() => this.begin());
    }

    begin() {}
  }

  class CrowdForm extends OnceElement {
    #sending = false;
    #failure = null;

    begin() {
      this.form = document.createElement('form');
      this.form.noValidate = true;
      this.form.append(...this.childNodes);
      this.append(this.form);
      this.form.addEventListener('submit', (event) => {
        event.preventDefault();
        event.stopPropagation();
        this.submit();
      });
      if (!this.form.querySelector('crowd-button[form-action="submit"]')) {
        const button = document.createElement('crowd-button');
        button.setAttribute('form-action', 'submit');
        button.textContent = 'Submit';
        this.form.append(button);
      }
    }

    /** Collect and send; a `submit` listener may veto. One answer is under way at a time. */
    async submit() {
      if (this.#sending) return;
      const asked = new CustomEvent('submit', { bubbles: true, cancelable: true });
      if (!this.dispatchEvent(asked)) return;
      if (!this.form.reportValidity()) return;
      const url = setting('cxr-submit-url'); // the page may be another image's before the reply
      this.#busy(true);
      this.#say('');
      document.dispatchEvent(new CustomEvent('cxr-sending'));
      const outcome = await send(url, collect(this.form));
      if (outcome.error !== undefined) {
        this.#busy(false);
        this.#say(outcome.error);
        document.dispatchEvent(new CustomEvent('cxr-refused', { detail: outcome }));
        return;
      }
      const told = { detail: outcome.reply, cancelable: true };
      if (document.dispatchEvent(new CustomEvent('cxr-answered', told))) {
        location.assign(outcome.next); // still busy: the page is on its way out
      } else {
        this.#busy(false);
      }
    }

    #busy(sending) {
      this.#sending = sending;
      for (const button of this.querySelectorAll('crowd-button[form-action="submit"]')) {
        button.toggleAttribute('disabled', sending);
        button.setAttribute('aria-disabled', String(sending));
      }
    }

    #say(error) {
      this.#failure ??= this.#alert();
      this.#failure.hidden = error === '';
      this.#failure.firstChild.textContent = error;
    }

    #alert() {
      const box = document.createElement('div');
      const text = document.createElement('span');
      const close = document.createElement('button');
      box.className = 'crowd-failed';
      box.setAttribute('role', 'alert');
      close.type = 'button';
      close.textContent = 'Close';
      close.addEventListener('click', () => this.#say(''));
      box.append(text, close);
      this.append(box);
      return box;
    }
  }

  /** Give {next, reply} or {error, status}; never throws. */
  async function send(url, answers) {
    let response;
    try {
      response = await post(url, answers);
      if (response.status === 403 && (await renewed())) response = await post(url, answers);
    } catch {
      return { status: 0, error: `The portal did not answer. ${STILL_HERE}` };
    }
    const said = await response.json().catch(() => ({}));
    if (!response.ok) return { status: response.status, error: explain(response.status, said?.error) };
    const next = new URL(typeof said?.next === 'string' ? said.next : '', location.href);
    if (next.origin !== location.origin) return { status: 200, error: 'Saved, but the portal named no next page.' };
    return { next: next.href, reply: said };
  }

  function post(url, answers) {
    return fetch(url, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { 'Content-Type': 'application/json', 'X-CSRF': setting('cxr-csrf') },
      body: JSON.stringify(answers),
      signal: AbortSignal.timeout(SEND_MS),
    });
  }

  /** A portal that was started anew wants another token of its pages; true if it gave one. */
  async function renewed() {
    const response = await fetch('/api/csrf', {
      credentials: 'same-origin',
      signal: AbortSignal.timeout(SEND_MS),
    });
    const { csrf } = response.ok ? await response.json() : {};
    if (typeof csrf !== 'string' || csrf === setting('cxr-csrf')) return false;
    document.querySelector('meta[name="cxr-csrf"]').content = csrf;
    return true;
  }

  /** What to do about a refusal, in the portal's words and ours. */
  function explain(status, error) {
    const why = typeof error === 'string' && error !== '' ? error : `the portal answered ${status}`;
    return `Not saved: ${why}. ${HINTS[status] ?? STILL_HERE}`;
  }

  class CrowdButton extends OnceElement {
    begin() {
      this.tabIndex = 0;
      this.setAttribute('role', 'button');
      this.addEventListener('click', () => this.#act());
      this.addEventListener('keydown', (event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        this.click();
      });
    }

    #act() {
      if (this.hasAttribute('disabled')) return;
      const action = this.getAttribute('form-action') ?? 'submit';
      if (action === 'submit') this.closest('crowd-form')?.submit();
      if (action === 'reset') this.closest('form')?.reset();
    }
  }

  /** crowd-input, crowd-text-area and crowd-checkbox: a labelled control of the browser's. */
  class CrowdControl extends OnceElement {
    begin() {
      const tag = this.localName === 'crowd-text-area' ? 'textarea' : 'input';
      this.control = document.createElement(tag);
      this.control.disabled = this.hasAttribute('disabled');
      this.control.required = this.hasAttribute('required');
      const label = document.createElement('label');
      if (this.localName === 'crowd-checkbox') {
        this.control.type = 'checkbox';
        this.control.checked = this.hasAttribute('checked');
        label.append(this.control, ...this.childNodes);
      } else {
        this.control.value = this.getAttribute('value') ?? '';
        this.control.placeholder = this.getAttribute('placeholder') ?? '';
        label.append(this.getAttribute('label') ?? '', this.control);
      }
      this.append(label);
    }

    get value() {
      if (this.localName !== 'crowd-checkbox') return this.control?.value ?? '';
      return { [this.getAttribute('value') ?? 'on']: this.checked };
    }

    set value(value) {
      this.control.value = value;
    }

    get checked() {
      return this.control?.checked ?? this.hasAttribute('checked');
    }

    set checked(checked) {
      this.control.checked = checked;
    }
  }

  class CrowdAlert extends OnceElement {
    begin() {
      this.setAttribute('role', 'alert');
    }
  }

  /** Instructions are text of the page; the worker page shows its own. */
  class CrowdInstructions extends OnceElement {
    begin() {
      this.setAttribute('role', 'note');
    }
  }

  const elements = {
    'crowd-form': CrowdForm,
    'crowd-button': CrowdButton,
    'crowd-input': class extends CrowdControl {},
    'crowd-text-area': class extends CrowdControl {},
    'crowd-checkbox': class extends CrowdControl {},
    'crowd-alert': CrowdAlert,
    'crowd-instructions': class extends CrowdInstructions {},
    'short-instructions': class extends CrowdInstructions {},
    'full-instructions': class extends CrowdInstructions {},
  };
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  for (const [name, element] of Object.entries(elements)) {
    if (!customElements.get(name)) customElements.define(name, element);
  }
  whenParsed(() => document.dispatchEvent(new Event('all-crowd-elements-ready', { bubbles: true })));
})();
