/**
 * The lead's page: asks the portal every two seconds how far the job is, and for agreement figures
 * as often as the portal thinks them worth computing. All that comes from readers or the config is
 * set as text, never parsed as HTML.
 */
(() => {
  'use strict';

  const POLL_MS = 2_000;
  const CLOSED_POLL_MS = 15_000;
  const SHOWN_DISPUTES = 200;
  const SVG = 'http://www.w3.org/2000/svg';
  const byId = (id) => document.getElementById(id);
  const setting = (name) => document.querySelector(`meta[name="${name}"]`).content;
  const adjudicates = setting('cxr-adjudicates') === 'yes';

  let progress = null;
  let figures = null;
  let asked = null; // the answers that the newest figures were asked for
  let filter = new URLSearchParams(location.search).get('label');
  let timer = 0;

  // -- elements

  function el(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  function svg(tag, attributes, ...children) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /** Replace a table's rows where they changed; the focus stays on what it was on. */
  const drawn = new Map();
  function fill(body, shown, rows) {
    const now = JSON.stringify(shown);
    if (drawn.get(body) === now) return;
    drawn.set(body, now);
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    body.replaceChildren(...rows());
    if (focused) [...body.querySelectorAll('[data-focus]')].find((e) => e.dataset.focus === focused)?.focus();
  }

  // -- numbers

  const whole = (n) => n.toLocaleString('en-US');
  const percent = (x) => `${(100 * x).toFixed(x > 0 && x < 0.0995 ? 1 : 0)} %`;
  const two = (x) => (Object.is(Number(x.toFixed(2)), -0) ? 0 : x).toFixed(2).replace('-', '−');

  function duration(seconds) {
    if (seconds < 60) return 'under 1 min';
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return `${minutes} min`;
    const hours = Math.floor(minutes / 60);
    if (hours < 48) return `${hours} h ${minutes % 60} min`;
    return `${Math.round(hours / 24)} days`;
  }

  function ago(seconds) {
    if (seconds < 10) return 'just now';
    if (seconds < 60) return `${Math.round(seconds / 10) * 10} s ago`;
    return `${duration(seconds)} ago`;
  }

  /** A figure that cannot be had is a dash; its reason is the title, and is read aloud. */
  function none(why) {
    const reason = why || 'not enough answers yet';
    return el('span', { class: 'none', title: reason }, '–', el('span', { class: 'unseen' }, ` ${reason}`));
  }

  function put(id, value, format, why) {
    byId(id).replaceChildren(value === null || value === undefined ? none(why) : format(value));
  }

  /** A value with its interval, and both drawn on one axis for the whole column. */
  function estimate(figure, from = 0) {
    const cell = el('td', { class: 'figure' });
    if (!figure || figure.value === null) {
      cell.append(none(figure?.why));
      return cell;
    }
    const text = el('span', { class: 'value' }, two(figure.value));
    if (figure.low !== null && figure.low !== undefined) {
      text.append(el('span', { class: 'range' }, `${two(figure.low)} to ${two(figure.high)}`));
      text.title = '95 % confidence interval below';
    } else if (figure.why) {
      text.title = figure.why;
    }
    cell.append(el('div', { class: 'pic' }, text, whisker(figure, from)));
    return cell;
  }

  function whisker(figure, from) {
    const width = 64;
    const x = (v) => 4 + ((Math.min(1, Math.max(from, v)) - from) / (1 - from)) * (width - 8);
    const parts = [svg('line', { class: 'axis', x1: 4, x2: width - 4, y1: 8, y2: 8 })];
    if (from < 0) parts.push(svg('line', { class: 'zero', x1: x(0), x2: x(0), y1: 4, y2: 12 }));
    if (figure.low !== null && figure.low !== undefined) {
      parts.push(svg('line', { class: 'whisker', x1: x(figure.low), x2: x(figure.high), y1: 8, y2: 8 }));
    }
    parts.push(svg('circle', { class: 'dot', cx: x(figure.value), cy: 8, r: 3 }));
    return svg('svg', { width, height: 16, 'aria-hidden': 'true' }, ...parts);
  }

  function track(share) {
    const filled = el('div', { class: 'filled' });
    filled.style.width = `${100 * Math.min(1, share)}%`;
    return el('div', { class: 'track', 'aria-hidden': 'true' }, filled);
  }

  // -- sections

  const STATES = { open: 'open', complete: 'all labelled', closed: 'closed' };

  function showProgress() {
    const { job, progress: p } = progress;
    byId('state').textContent = STATES[job.state] ?? job.state;
    byId('state').dataset.state = job.state;
    byId('labelled').textContent = whole(p.labelled);
    byId('total').textContent = whole(p.total);
    byId('answers').textContent = `${whole(p.answers)} of ${whole(p.wanted)}`;
    const share = p.total ? p.labelled / p.total : 0;
    byId('filled').style.width = `${100 * share}%`;
    byId('given').style.width = `${p.wanted ? (100 * p.answers) / p.wanted : 0}%`;
    byId('bar').setAttribute('aria-valuenow', String(Math.floor(100 * share)));
    byId('bar').setAttribute('aria-valuetext', `${p.labelled} of ${p.total} images`);
    byId('bar').classList.toggle('whole', p.total > 0 && p.labelled === p.total);
    put('rate', p.perHour, (v) => whole(Math.round(v)), p.why);
    put('eta', p.leftS, (v) => (v === 0 ? 'nothing left' : v < 60 ? duration(v) : `about ${duration(v)}`), p.why);
    byId('close').hidden = job.state === 'closed';
    byId('confirm-missing').textContent = missing(p);
  }

  function missing(p) {
    const left = p.total - p.labelled;
    const open = figures?.disputes.filter((d) => d.state === 'open').length ?? 0;
    const said = [];
    if (left) said.push(`${whole(left)} image${left > 1 ? 's are' : ' is'} not labelled yet`);
    if (open && progress.job.consolidation === 'adjudicated') said.push(`${whole(open)} disagreement${open > 1 ? 's are' : ' is'} not decided`);
    return said.length ? `${said.join(', and ')}.` : '';
  }

  function showWorkers() {
    const rows = progress.workers;
    const most = Math.max(1, progress.progress.total);
    fill(byId('workers').tBodies[0], rows, () => rows.map((w) => el('tr', {},
      el('th', { scope: 'row', title: w.id }, w.name || w.id, ...(w.name && w.name !== w.id ? [el('span', { class: 'id' }, w.id)] : [])),
      el('td', {}, el('div', { class: 'share' }, track(w.answered / most), el('output', {}, whole(w.answered)))),
      el('td', { class: 'number' }, w.perHour.value === null ? none(w.perHour.why) : whole(Math.round(w.perHour.value))),
      el('td', { class: 'number' }, typeof w.activeS === 'number' ? `${w.activeS.toFixed(1)} s` : none('no answer says how long it took')),
      el('td', { class: 'number' }, w.skips ? whole(w.skips) : w.answered ? '0' : none('no answer yet')),
      el('td', { class: 'number' }, w.lastS === null || w.lastS === undefined ? none('no answer yet') : ago(w.lastS)),
    )));
  }

  function showFindings() {
    byId('asof').textContent = `from ${whole(figures.answers)} answers · 95 % confidence intervals`;
    const axis = Math.min(0, ...figures.findings.flatMap((f) => [f.alpha, f.kappa]
      .filter((x) => x && x.value !== null).map((x) => Math.max(-1, x.low ?? x.value))));
    fill(byId('findings').tBodies[0], [figures.findings, axis], () => figures.findings.map((f) => el('tr', {},
      el('th', { scope: 'row', title: f.label }, f.label),
      el('td', {}, f.images ? mix(f) : none('no image is consolidated yet')),
      estimate(f.alpha, axis),
      estimate(f.kappa, axis),
      estimate(f.positive),
      estimate(f.negative),
      el('td', { class: 'number' }, disagreements(f)),
    )));
  }

  function mix(f) {
    const width = 88;
    const present = width * f.present;
    return el('div', { class: 'mix' },
      svg('svg', { width, height: 8, 'aria-hidden': 'true' },
        svg('rect', { class: 'ground', width, height: 8, rx: 3 }),
        svg('rect', { class: 'present', width: present, height: 8, rx: Math.min(3, present / 2) }),
        svg('rect', { class: 'uncertain', x: present, width: width * f.uncertain, height: 8 })),
      el('span', { title: `of ${whole(f.images)} images` }, percent(f.present), el('span', { class: 'minor' }, ` · ${percent(f.uncertain)}`)));
  }

  function disagreements(f) {
    if (!f.disagreements) return f.images ? '0' : none('no image is consolidated yet');
    const name = whole(f.disagreements);
    if (!figures.disputes.some((d) => d.labels.includes(f.label))) return name;
    const title = `${adjudicates ? 'Decide' : 'List'} where readers differ on ${f.label}`;
    const query = `label=${encodeURIComponent(f.label)}`;
    const href = adjudicates ? `/adjudicate?${query}` : `/job?${query}#disagreements`;
    const link = el('a', { href, title, 'aria-label': `${name}: ${title}`, 'data-focus': f.label }, name);
    if (!adjudicates) link.addEventListener('click', (event) => {
      event.preventDefault();
      choose(f.label);
      byId('disputes-title').focus();
    });
    return link;
  }

  function showQuality(id, part, row) {
    const found = part.workers.length > 0;
    byId(`${id}-why`).textContent = part.why ?? '';
    byId(`${id}-why`).hidden = !part.why;
    byId(id).parentElement.hidden = !found;
    fill(byId(id).tBodies[0], part.workers, () => part.workers.map((w) => el('tr', {}, el('th', { scope: 'row', title: w.id }, w.name || w.id), ...row(w))));
  }

  function choose(label) {
    filter = filter === label ? null : label;
    history.replaceState(null, '', filter ? `/job?label=${encodeURIComponent(filter)}` : '/job');
    showDisputes();
  }

  function showDisputes() {
    const all = figures.disputes;
    const open = all.filter((d) => d.state === 'open').length;
    put('open', open, whole);
    byId('disputes-count').textContent = all.length ? `${whole(all.length)} images, ${whole(all.length - open)} decided` : '';
    const labels = [...new Set(all.flatMap((d) => d.labels))].sort((a, b) => position(a) - position(b));
    fill(byId('filters'), [labels, filter], () => labels.map((label) => {
      const button = el('button', { type: 'button', class: 'button', 'aria-pressed': String(label === filter), 'data-focus': label }, label);
      button.addEventListener('click', () => choose(label));
      return button;
    }));
    const shown = all.filter((d) => !filter || d.labels.includes(filter));
    byId('disputes').parentElement.hidden = !shown.length;
    byId('disputes-why').textContent = disputesWhy(all, shown);
    fill(byId('disputes').tBodies[0], [shown, filter], () => shown.slice(0, SHOWN_DISPUTES).map(dispute));
  }

  function disputesWhy(all, shown) {
    if (!all.length) {
      return progress.progress.labelled
        ? 'Readers agree on every image that has all its answers.'
        : 'No image has all its answers yet; only then can readers differ.';
    }
    if (!shown.length) return `Nobody disagrees on ${filter}.`;
    if (shown.length > SHOWN_DISPUTES) return `The first ${SHOWN_DISPUTES} of ${whole(shown.length)}.`;
    return '';
  }

  function dispute(d) {
    const number = adjudicates
      ? el('a', { href: `/adjudicate/${encodeURIComponent(d.id)}`, 'data-focus': d.id, 'aria-label': `Decide on image ${Number(d.id) + 1}` }, String(Number(d.id) + 1))
      : String(Number(d.id) + 1);
    return el('tr', {},
      el('td', { class: 'number' }, number),
      el('td', { class: 'source', title: d.source }, d.source),
      el('td', { class: 'labels' }, ...d.labels.map((label) => el('span', { class: 'tag' }, label))),
      el('td', { class: d.state === 'open' ? 'undecided' : null }, d.state === 'open' ? 'open' : `decided by ${d.by}`));
  }

  function position(label) {
    const found = figures.findings.findIndex((f) => f.label === label);
    return found < 0 ? Infinity : found;
  }

  function showFigures() {
    showFindings();
    showQuality('honeypots', figures.honeypots, (w) => [
      el('td', { class: 'number' }, whole(w.images)), estimate(w.sensitivity), estimate(w.specificity)]);
    showQuality('repeats', figures.repeats, (w) => [el('td', { class: 'number' }, whole(w.images)), estimate(w.kappa)]);
    showDisputes();
  }

  // -- asking

  async function ask(path, options = {}) {
    const response = await fetch(path, { credentials: 'same-origin', signal: AbortSignal.timeout(30_000), ...options });
    const said = await response.json().catch(() => ({}));
    if (!response.ok) throw Object.assign(new Error(said.error ?? `the portal answered ${response.status}`), { status: response.status });
    return said;
  }

  function trouble(text) {
    byId('trouble').textContent = text;
    byId('trouble').hidden = text === '';
  }

  async function figuresIfNew() {
    const key = progress.stamp;
    if (asked !== null && asked === key && figures) return;
    const got = await ask('/api/job/figures');
    asked = got.stamp;
    figures = got;
  }

  /** One round; never two at once. */
  async function poll() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      progress = await ask('/api/job');
      showProgress();
      showWorkers();
      await figuresIfNew();
      showFigures();
      byId('confirm-missing').textContent = missing(progress.progress);
      trouble('');
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        trouble('You are signed out: open your personal link again.');
        return;
      }
      trouble(lost(error));
    }
    timer = setTimeout(poll, progress?.job.state === 'closed' ? CLOSED_POLL_MS : POLL_MS);
  }

  function lost(error) {
    if (error.status) return `The portal could not say how far the job is: ${error.message}`;
    if (progress && progress.job.state !== 'open') return 'The job has ended and its portal has stopped; the files are in the job’s folder.';
    return 'The portal does not answer; this page asks again by itself.';
  }

  async function close() {
    byId('close').disabled = true;
    try {
      await ask('/job/close', { method: 'POST', headers: { 'X-CSRF': setting('cxr-csrf') } });
      await poll();
    } catch (error) {
      trouble(`Not closed: ${error.message}`);
    }
    byId('close').disabled = false;
  }

  byId('close').addEventListener('click', () => byId('confirm').showModal());
  byId('confirm').addEventListener('close', () => {
    if (byId('confirm').returnValue === 'close') close();
    byId('confirm').returnValue = '';
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) poll();
  });
  poll();
})();
