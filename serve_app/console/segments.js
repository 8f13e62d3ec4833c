// The sentences of a dub: when, what was said and is said, at which tempo, and what to look at. Changes are kept here
// until they are sent together; the service then does again only what depends on them.

import { get } from "./api.js";
import { choice, clock, fill, h, number, plural, put, svg, write } from "./dom.js";
import { T } from "./texts.js";

const PAGE = 100;
const VOICES = ["", "female", "male", "neutral"];
export const PACES = [[0.995, "slow"], [1.1, "own"], [1.2, "brisk"], [1.35, "fast"], [Infinity, "rushed"]];
export const pace = (tempo) => PACES.find(([limit]) => tempo <= limit + 1e-3)[1];

export function sentences({ url, target, job, player, signal, again }) {
  const box = h("div", { class: "sentences" }, h("p", { class: "loading" }, T.loading));
  get(`${url}/segments?target=${target}`, { signal })
    .then((rows) => fill(box, table(rows, { job, target, player, signal, again })))
    .catch((error) => { if (!signal.aborted) fill(box, h("p", { class: "wrong" }, `${error.message} ${error.hint ?? ""}`)); });
  return box;
}

function table(rows, { job, target, player, signal, again }) {
  if (!rows.length) return h("p", { class: "soft" }, T.segments.empty);
  const drafts = new Map();
  const lines = new Map();
  const body = h("div", { role: "rowgroup" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const count = h("strong", { role: "status" });
  const save = h("button", { class: "button strong", onclick: send }, T.segments.save);
  const foot = h("div", { class: "savebar", hidden: true }, count,
    h("button", { class: "button", onclick: discard }, T.segments.discard), save, wrong);
  const more = h("button", { class: "button", onclick: () => extend(PAGE) }, T.segments.more);
  let only = "all";
  let shown = 0;
  const several = new Set(rows.map((row) => row.speaker)).size > 1;
  const doubtful = (row) => row.flags.length > 0 || row.place === null || (row.tempo ?? 1) > 1.2;
  const wanted = () => rows.filter((row) => only === "all" || doubtful(row) || drafts.has(row.id));

  function extend(by) {
    const part = wanted().slice(shown, shown + by);
    for (const row of part) {
      if (!lines.has(row.id)) lines.set(row.id, line(row, { job, target, player, change, several }));
      body.append(lines.get(row.id).element);
    }
    shown += part.length;
    more.hidden = shown >= wanted().length;
    none.hidden = shown > 0;
  }

  function refill() {
    body.replaceChildren();
    shown = 0;
    extend(PAGE);
  }

  /** What a row has been changed to; null when it is as it was. */
  function change(id, draft) {
    if (draft) drafts.set(id, draft);
    else drafts.delete(id);
    foot.hidden = !drafts.size;
    write(count, drafts.size ? plural(drafts.size, T.segments.changed) : "");
    write(wrong, "");
  }

  function discard() {
    for (const id of [...drafts.keys()]) lines.get(id).reset();
  }

  async function send() {
    const empty = [...drafts].find(([, draft]) => draft.text === "" || draft.translation === "");
    if (empty) {
      write(wrong, T.segments.notEmpty);
      lines.get(empty[0]).focus();
      return;
    }
    save.disabled = true;
    try {
      await again([...drafts].map(([id, draft]) => ({ id, ...draft })));
    } catch (error) {
      write(wrong, `${error.message} ${error.hint ?? ""}`);
    } finally {
      save.disabled = false;
    }
  }

  const guard = (event) => { if (drafts.size) event.preventDefault(); };
  window.addEventListener("beforeunload", guard);
  signal.addEventListener("abort", () => window.removeEventListener("beforeunload", guard));

  const starts = rows.map((row) => row.start);
  let current = null;
  player.onmove((now) => {
    const at = starts.findLastIndex((start) => start <= now + 0.05);
    const row = at >= 0 && now <= Math.max(rows[at].end, rows[at].place ?? 0) + 0.3 ? lines.get(rows[at].id) : null;
    if (row === current) return;
    current?.element.classList.remove("now");
    row?.element.classList.add("now");
    current = row;
  });

  const none = h("p", { class: "soft", hidden: true }, T.segments.none);
  const many = rows.filter(doubtful).length;
  const head = [T.segments.at, T.segments.original, T.segments.translation, T.segments.voice, T.segments.tempo];
  extend(PAGE);
  return [
    h("p", { class: "soft" }, T.segments.lead),
    timeline(rows, job.result.duration_s, player),
    many > 0 && many < rows.length && choice(T.segments.filter,
      [["all", `${T.segments.all} ${number(rows.length)}`], ["flagged", `${T.segments.flagged} ${number(many)}`]], only,
      (one) => { only = one; refill(); }, { quiet: true }),
    h("div", { class: "table", role: "table", "aria-label": T.segments.title, "aria-rowcount": rows.length + 1 },
      h("div", { role: "rowgroup", class: "table-head" },
        h("div", { role: "row", class: "segment" }, head.map((word) => h("span", { role: "columnheader" }, word)))),
      body),
    none,
    h("div", { class: "more" }, more),
    foot,
  ];
}

// -- one sentence -----------------------------------------------------------------------------------------------------

function line(row, { job, target, player, change, several }) {
  const number_ = row.id;
  const before = {
    text: row.edit.text ?? row.text,
    translation: row.edit.translation ?? row.translation ?? "",
    voice: row.edit.voice ?? "",
    skip: row.edit.skip ?? false,
  };
  const mine = Object.entries(row.edit).filter(([, value]) => value !== null && value !== false).map(([name]) => name);
  const now = { ...before };
  let withdrawn = false;

  const text = area(put(T.segments.originalOf, { n: number_ }), row.language ?? sourceOf(job), (value) => set({ text: value }));
  const translation = area(put(T.segments.translationOf, { n: number_ }), target, (value) => set({ translation: value }));
  const voice = h("select", { "aria-label": put(T.segments.voiceOf, { n: number_ }), onchange: () => set({ voice: voice.value }) },
    VOICES.map((one) => h("option", { value: one }, T.segments.voices[one])));
  const skip = h("input", { type: "checkbox", onchange: () => set({ skip: skip.checked }), "aria-label": put(T.segments.skipOf, { n: number_ }) });
  const undo = h("button", {
    type: "button", class: "plain small", hidden: !mine.length, "aria-label": put(T.segments.undo, { n: number_ }),
    onclick: () => { withdrawn = !withdrawn; tell(); },
  }, `↺ ${T.segments.edited}`);
  const others = (row.alternatives ?? []).filter((one) => one.text !== before.translation);

  function set(part) {
    Object.assign(now, part);
    withdrawn = false;
    tell();
  }

  function tell() {
    const draft = withdrawn ? Object.fromEntries(mine.map((name) => [name, null])) : changed(before, now);
    element.classList.toggle("changed", Boolean(draft));
    element.classList.toggle("skipped", now.skip);
    undo.setAttribute("aria-pressed", String(withdrawn));
    change(row.id, draft);
  }

  function reset() {
    Object.assign(now, before);
    withdrawn = false;
    show();
    tell();
  }

  function show() {
    text.value = now.text;
    translation.value = now.translation;
    voice.value = now.voice;
    skip.checked = now.skip;
  }

  const cell = (label, ...children) => h("div", { role: "cell", "data-label": label }, children);
  const element = h("div", { role: "row", class: "segment" },
    cell(T.segments.at,
      h("button", { type: "button", class: "plain at", "aria-label": put(T.segments.seek, { clock: clock(row.start, true) }), onclick: () => player.seek(row.start) }, clock(row.start, true)),
      h("span", { class: "soft small" }, clock(row.end, true)),
      several && row.speaker && h("span", { class: "soft small" }, row.speaker)),
    cell(T.segments.original, text),
    cell(T.segments.translation, translation,
      row.flags.length > 0 && h("p", { class: "flags" }, row.flags.map((flag) => h("span", {}, T.segments.flags[flag] ?? flag))),
      others.length > 0 && h("details", { class: "others" }, h("summary", {}, T.segments.alternatives),
        others.map((one) => h("button", { type: "button", class: "plain", lang: target, onclick: () => { translation.value = one.text; set({ translation: one.text }); } }, one.text)))),
    cell(T.segments.voice, voice, h("label", { class: "check small" }, skip, h("span", {}, T.segments.skip)), undo),
    cell(T.segments.tempo, tempo(row)));
  show();
  if (now.skip) element.classList.add("skipped");
  return { element, reset, focus: () => (now.text === "" ? text : translation).focus() };
}

const sourceOf = (job) => (job.source_lang && job.source_lang !== "auto" ? job.source_lang : undefined);

function area(label, lang, onchange) {
  return h("textarea", { "aria-label": label, lang, rows: "2", maxlength: "2000", spellcheck: "true", oninput: (event) => onchange(event.target.value.trim()) });
}

/** Only what differs, in the words of the service; null when nothing does. */
function changed(before, now) {
  const draft = {};
  for (const name of ["text", "translation", "voice", "skip"]) if (before[name] !== now[name]) draft[name] = now[name];
  if (draft.voice === "") draft.voice = null;
  return Object.keys(draft).length ? draft : null;
}

function tempo(row) {
  if (row.place === null) return h("span", { class: "pace none" }, T.segments.notSpoken);
  const name = pace(row.tempo ?? 1);
  return h("span", { class: `pace ${name}` }, `× ${number(row.tempo ?? 1, 2)}`, h("small", {}, T.segments.paces[name]));
}

// -- the timeline -----------------------------------------------------------------------------------------------------

/** One line of drawing for the whole film: original above, dub below. The table says the same in words. */
export function timeline(rows, duration, player) {
  const bars = (kind, y, from, to) => rows.filter((row) => row.place !== null || kind === "heard").map((row) => {
    const [start, end] = [from(row), to(row)];
    return svg("rect", {
      class: kind === "heard" ? "heard" : `spoken ${pace(row.tempo ?? 1)}`, x: (start / duration) * 1000, y, height: 12, rx: 2,
      width: Math.max(1, ((end - start) / duration) * 1000),
    }, svg("title", {}, kind === "heard" ? row.text : row.translation ?? ""));
  });
  const at = svg("line", { class: "needle", x1: 0, x2: 0, y1: 0, y2: 34 });
  const drawing = svg("svg", { viewBox: "0 0 1000 34", preserveAspectRatio: "none", role: "img", "aria-label": T.segments.timeline },
    bars("heard", 3, (row) => row.start, (row) => row.end),
    bars("dub", 19, (row) => row.place, (row) => row.until ?? row.place + (row.end - row.start)), at);
  drawing.addEventListener("click", (event) => {
    const { left, width } = drawing.getBoundingClientRect();
    player.seek(((event.clientX - left) / width) * duration);
  });
  player.onmove((now) => {
    const x = (now / duration) * 1000;
    at.setAttribute("x1", x);
    at.setAttribute("x2", x);
  });
  return h("div", { class: "timeline" }, drawing);
}
