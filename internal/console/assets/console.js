// Switchboard console: conveniences only; every page works without them.
// 1 live feed (EventSource)  2 keyboard  3 dialogs  4 small things
const $ = (s, el = document) => el.querySelector(s), $$ = (s, el = document) => [...el.querySelectorAll(s)];
const typing = el => el.closest?.('input:not([type=radio],[type=checkbox]), textarea, select, [contenteditable]');

// 1 ── live feed: the server sends finished <tr> fragments; we only place them.
const parts = html => { // any other fragment, by id; never the one the reader stands on
  const t = document.createElement('template');
  t.innerHTML = html; // same origin, escaped by html/template
  for (const el of [...t.content.children]) {
    const old = document.getElementById(el.id);
    if (old && !old.contains(document.activeElement)) old.replaceWith(el);
  }
};
const feed = $('[data-live]');
if (feed) {
  const body = $('tbody', feed), state = $('[data-live-state]'), max = +feed.dataset.max || 60;
  let held = [], paused = false;
  const say = (cls, text) => {
    state.className = 'st ' + cls;
    state.firstElementChild.className = cls === 'ok' ? 'dot' : 'dot w';
    state.lastElementChild.textContent = text;
  };
  const place = html => {
    const t = document.createElement('template');
    t.innerHTML = html; // same origin, escaped by html/template
    for (const tr of $$('tr', t.content)) {
      const old = tr.id && document.getElementById(tr.id);
      if (old) { old.replaceWith(tr); continue; } // a message moved on: same row, new state
      tr.classList.add('in'); body.prepend(tr);
    }
    while (body.rows.length > max) body.lastElementChild.remove();
  };
  const take = html => {
    if (!paused) return place(html);
    held.push(html); if (held.length > 500) held.shift();
    say('warn', `Paused, ${held.length} waiting`);
  };
  const toggle = () => {
    paused = !paused; $('[data-pause]').setAttribute('aria-pressed', paused);
    if (!paused) { held.forEach(place); held = []; }
    say(paused ? 'warn' : 'ok', paused ? 'Paused' : 'Live');
  };
  $('[data-pause]').hidden = false;
  $('[data-pause]').addEventListener('click', toggle);
  body.addEventListener('focusin', () => { if (!paused) toggle(); });   // never move a row under the reader
  const es = new EventSource(feed.dataset.live);
  es.addEventListener('row', e => take(e.data));
  es.addEventListener('part', e => parts(e.data));
  es.onopen = () => { if (!paused) say('ok', 'Live'); };
  es.onerror = () => { if (!paused) say('warn', 'Reconnecting'); };
}
const first = $('[data-first]'); // the page of a new installation: the first message replaces it
if (first) new EventSource(first.dataset.first).addEventListener('row', () => location.reload());

// 2 ── keyboard: single keys only outside fields; "g" starts a jump.
const jump = { f: 'flow', t: 'tickets', d: 'dead', h: 'health' };
let g = 0;
const rows = () => $$('[data-row] .go, tr[data-href] .go');
const step = d => { const r = rows(), i = r.indexOf(document.activeElement); r[Math.max(0, Math.min(r.length - 1, i + d))]?.focus(); };
addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey) {
    if (e.key === 'Enter' && typing(e.target)) { e.target.form?.requestSubmit(); e.preventDefault(); }
    return;
  }
  if (e.key === 'Escape' && typing(e.target)) return e.target.blur();
  if (typing(e.target) || $('dialog[open]') || localStorage.keys === 'off') return;
  if (g && Date.now() - g < 1200 && jump[e.key]) { g = 0; $(`.nav [data-go=${jump[e.key]}]`)?.click(); return; }
  const act = {
    g: () => { g = Date.now(); },
    j: () => step(1), k: () => step(-1),
    '/': () => $('[type=search]')?.focus(),
    r: () => $('.answer textarea')?.focus(),
    p: () => $('[data-pause]')?.click(),
    '?': () => $('#keys')?.showModal(),
  }[e.key];
  if (act) { act(); if (e.key !== 'g') e.preventDefault(); }
});
document.addEventListener('click', e => { // a whole row is a target, for mice
  const tr = e.target.closest('tr[data-href]');
  if (tr && !e.target.closest('a, button, input, label') && !String(getSelection())) location.href = tr.dataset.href;
});

// 3 ── dialogs: links become native dialogs where we can.
for (const a of $$('[data-dialog]')) a.addEventListener('click', e => {
  const d = document.getElementById(a.dataset.dialog);
  if (d?.showModal) { e.preventDefault(); d.showModal(); }
});
for (const d of $$('dialog')) d.addEventListener('click', e => { if (e.target === d || e.target.closest('[data-close]')) { e.preventDefault(); d.close(); } });

// 4 ── small things
const sw = $('#single'); // WCAG 2.1.4: single keys can be switched off
if (sw) { sw.checked = localStorage.keys !== 'off'; sw.addEventListener('change', () => { localStorage.keys = sw.checked ? 'on' : 'off'; }); }
for (const b of $$('[data-copy]')) { b.hidden = false; b.addEventListener('click', async () => { await navigator.clipboard?.writeText(b.dataset.copy); b.textContent = 'Copied'; }); }
for (const f of $$('form[data-once]')) f.addEventListener('submit', e => { // a second click sends nothing
  if (f.dataset.sent) return e.preventDefault();
  f.dataset.sent = '1';
  for (const b of $$('button', f)) b.setAttribute('aria-disabled', 'true');
});
addEventListener('pageshow', e => { if (e.persisted) for (const f of $$('form[data-once]')) { delete f.dataset.sent; for (const b of $$('button', f)) b.removeAttribute('aria-disabled'); } });
