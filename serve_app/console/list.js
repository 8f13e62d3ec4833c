// The list of videos: a page at a time, the first one looked at again every two seconds while anybody sees it.

import { call, get } from "./api.js";
import { ago, choice, clock, fill, h, language, left, number, plural, put, sentence, titled, write } from "./dom.js";
import { newDub, possible, sending } from "./form.js";
import { T } from "./texts.js";

const PAGE = 50;
const LOOK_MS = 2000;

export async function videos(page, _, signal) {
  titled("");
  const list = listing(signal);
  const uploads = sending(signal, (job, alone) => {
    list.look().catch(() => {}); // left meanwhile, or away: the next look says so
    if (alone && job.id) location.hash = `#/jobs/${job.id}`;
  });
  fill(page,
    h("h1", { class: "unseen", tabindex: "-1", "data-focus": true }, T.titles.jobs),
    form(signal), uploads, list.element);
  await list.look();
}

/** The form, once the service has said what it can do; whoever only wants to look need not wait for that. */
function form(signal) {
  const place = h("section", { class: "card new-place" }, h("p", { class: "loading" }, T.loading));
  async function ask() {
    try {
      const can = await possible();
      if (!signal.aborted) place.replaceWith(newDub(can));
    } catch (error) {
      fill(place, h("h2", {}, T.form.unknown),
        h("p", { role: "alert" }, `${error.message} ${error.hint ?? ""}`),
        h("p", {}, h("button", { class: "button", onclick: ask }, T.tryAgain)));
    }
  }
  ask();
  return place;
}

function listing(signal) {
  const rows = new Map();
  let filter = "all";
  let next = "";
  let older = false; // more than the first page is shown
  let turn = 0;
  const box = h("ol", { class: "rows" });
  const none = h("div", { class: "empty", hidden: true });
  const more = h("button", { class: "button", hidden: true, onclick: extend }, T.list.more);
  const counts = h("p", { class: "soft small count" });
  const filters = h("div", {}, choice(T.list.filter,
    Object.entries(T.list.filters), filter, (one) => { filter = one; older = false; look(); }, { quiet: true }));
  const element = h("section", { class: "list", "aria-labelledby": "list-title" },
    h("div", { class: "list-head" }, h("h2", { id: "list-title" }, T.list.title), filters),
    none, box, h("div", { class: "more" }, more, counts));

  const query = () => `/v1/jobs?limit=${PAGE}${filter === "all" ? "" : `&state=${filter}`}`;

  async function look() {
    const mine = ++turn;
    const [{ content, next: rest }, many] = await Promise.all([call(query(), { signal }), get("/v1/counts", { signal })]);
    if (mine !== turn) return;
    const last = content.at(-1);
    const kept = older && last ? [...rows.values()].map((row) => row.job).filter((job) => job.created_at < last.created_at) : [];
    if (!older) next = rest;
    draw([...content, ...kept]);
    label(many);
  }

  async function extend() {
    const mine = ++turn;
    const { content, next: rest } = await call(next, { signal });
    if (mine !== turn) return;
    older = true;
    next = rest;
    const first = content.find((job) => !rows.has(job.id));
    draw([...[...rows.values()].map((row) => row.job), ...content]);
    if (first) rows.get(first.id).element.querySelector("a").focus({ preventScroll: true });
  }

  function draw(jobs) {
    const wanted = new Set(jobs.map((job) => job.id));
    for (const [id, row] of rows) if (!wanted.has(id)) { row.element.remove(); rows.delete(id); }
    const known = new Map(rows);
    rows.clear();
    let at = box.firstElementChild;
    for (const job of jobs) {
      if (rows.has(job.id)) continue;
      const row = known.get(job.id) ?? line(job);
      row.update(job);
      rows.set(job.id, row);
      if (row.element === at) at = at.nextElementSibling;
      else box.insertBefore(row.element, at);
    }
    none.hidden = rows.size > 0;
    box.hidden = !rows.size;
    if (!rows.size) fill(none, filter === "all"
      ? [h("h3", {}, T.list.empty), h("p", {}, T.list.emptyLead)] : h("p", {}, T.list.emptyState));
    more.hidden = !next;
    write(counts, rows.size > 10 ? plural(rows.size, T.list.shown) : "");
  }

  function label(many) {
    const live = many.waiting + many.running + many.paused;
    const sums = { ...many, live, all: Object.values(many).reduce((sum, one) => sum + one, 0) };
    for (const input of filters.querySelectorAll("input")) {
      write(input.nextElementSibling, `${T.list.filters[input.value]} ${sums[input.value] ? number(sums[input.value]) : ""}`.trim());
    }
  }

  const timer = setInterval(() => { if (!document.hidden) look().catch(() => {}); }, LOOK_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  return { element, look };
}

function line(first) {
  const title = h("a", { class: "row-title", href: `#/jobs/${encodeURIComponent(first.id)}` });
  const about = h("span", { class: "soft" });
  const state = h("span", {});
  const where = h("span", { class: "soft row-where" });
  const bar = h("progress", { max: 100, value: 0 });
  const row = {
    job: first,
    element: h("li", { class: "row" },
      h("div", { class: "row-main" }, title, about), h("div", { class: "row-side" }, state, where), bar),
    update(job) {
      row.job = job;
      const { state: now, progress } = job;
      const running = now === "running" || now === "paused";
      write(title, job.title || T.list.untitled);
      write(about, `${route(job)} · ${ago(job.created_at)}`);
      badge(state, now);
      write(where, now === "failed" ? sentence(job.error.message) : now === "running" ? standing(progress)
        : now === "completed" && job.result ? clock(Math.round(job.result.duration_s)) : "");
      bar.hidden = !running;
      bar.value = progress.percent;
      bar.setAttribute("aria-label", `${job.title || T.list.untitled}: ${T.job.progress}`);
    },
  };
  return row;
}

/** "Translate · 43 % · about 2 min left" */
const standing = ({ stage, percent, eta_s }) =>
  [T.stages[stage], `${number(percent)} %`, eta_s ? left(eta_s) : ""].filter(Boolean).join(" · ");

export const route = (job) => {
  const targets = job.target_langs.map(language).join(", ");
  return job.source_lang && job.source_lang !== "auto" ? `${language(job.source_lang)} → ${targets}` : put(T.list.into, { targets });
};

/** The state of a job as a word with a mark; colour is not the only thing that tells. */
export function badge(element, state) {
  element.className = `badge ${state}`;
  write(element, T.states[state]);
  return element;
}
