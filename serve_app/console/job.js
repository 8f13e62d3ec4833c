// One video: while it is made, its stages, time left and log; afterwards the player and what can be done with the dub.

import { follow, get, patch, post } from "./api.js";
import { ago, announce, choice, clock, fill, h, language, left, number, problem, put, sentence, span, titled, write } from "./dom.js";
import { possible, retry } from "./form.js";
import { badge, route } from "./list.js";
import { player } from "./player.js";
import { downloads, quality } from "./quality.js";
import { sentences } from "./segments.js";
import { T } from "./texts.js";

const STAGES = Object.keys(T.stages);

export async function job(page, [id, tab], signal) {
  const url = `/v1/jobs/${encodeURIComponent(id)}`;
  const [first, can] = await Promise.all([get(url, { signal }), possible().catch(() => ({}))]);
  if (signal.aborted) return;
  titled(first.title || T.titles.job);
  const state = h("span", {});
  const actions = h("div", { class: "actions" });
  const about = h("p", { class: "soft" });
  const lost = h("p", { class: "lost", role: "status", hidden: true }, T.job.reconnecting);
  const body = h("div", { class: "job" });
  fill(page,
    h("p", { class: "back" }, h("a", { href: "#/" }, `← ${T.job.back}`)),
    h("header", { class: "job-head" },
      h("div", {},
        h("h1", { tabindex: "-1", "data-focus": true }, first.title || T.list.untitled), about),
      h("div", { class: "job-side" }, state, actions)),
    lost, body);

  let kind = "";
  let view = { update() {} };
  let inside = new AbortController();
  signal.addEventListener("abort", () => inside.abort());

  function update(now) {
    badge(state, now.state);
    const took = now.result && now.state === "completed" ? ` · ${put(T.job.took, { span: span(now.result.processing_s) })}` : "";
    write(about, `${route(now)} · ${put(T.job.created, { ago: ago(now.created_at) })}${took}`);
    const next = { completed: "done", failed: "over", cancelled: "over" }[now.state] ?? "live";
    if (next !== kind) {
      if (kind === "live" && next === "done") announce(T.job.ended);
      if (kind === "live" && next === "over") announce(now.error?.message ?? T.job.cancelled);
      kind = next;
      inside.abort();
      inside = new AbortController();
      view = { live: making, over: ended, done: finished }[kind]({ job: now, url, can, tab, again, signal: inside.signal });
      fill(body, view.element);
    }
    view.update(now);
    steer(now);
  }

  function steer(now) {
    const wanted = now.status !== "processing" ? now.status : now.state === "paused" ? "paused" : "running";
    if (actions.dataset.now === wanted) return;
    actions.dataset.now = wanted;
    const act = (action, label) => h("button", { class: "button", onclick: () => steered(action) }, label);
    const load = h("a", { class: "button", href: `${url}/artifacts/translated.mp4`, download: "" }, T.job.download);
    fill(actions, now.status === "completed" ? load : now.status !== "processing" ? null : [
      wanted === "paused" ? act("resume", T.job.resume) : act("pause", T.job.pause),
      h("button", { class: "button", onclick: askCancel }, T.job.cancel)]);
  }

  async function steered(action) {
    try { update(await post(`${url}/${action}`)); } catch (error) { warn(error); }
  }

  function askCancel() {
    const box = h("dialog", { class: "card ask", "aria-labelledby": "ask" },
      h("p", { id: "ask" }, T.job.cancelAsk),
      h("div", { class: "actions" },
        h("button", { class: "button", onclick: () => box.close() }, T.job.cancelNo),
        h("button", { class: "button danger", onclick: () => { box.close(); steered("cancel"); } }, T.job.cancelYes)));
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    box.showModal();
  }

  function warn(error) {
    const line = h("p", { class: "wrong", role: "alert" }, `${error.message} ${error.hint ?? ""}`);
    actions.after(line);
    setTimeout(() => line.remove(), 12000);
  }

  /** The job runs once more: after an error, or with what was changed. */
  function again(now) {
    update(now);
    watch();
  }

  function watch() {
    follow(id, update, (error) => { lost.hidden = !error; }, signal).catch((error) => fill(body, problem(error)));
  }

  update(first);
  if (first.status === "processing") watch();
}

// -- while it is made -------------------------------------------------------------------------------------------------

function making() {
  const percent = h("strong", { class: "percent" });
  const bar = h("progress", { max: 100, value: 0, "aria-label": T.job.progress });
  const message = h("p", { class: "message" });
  const times = h("p", { class: "soft" });
  const steps = STAGES.map((stage) => {
    const note = h("span", { class: "soft" });
    return { note, element: h("li", {}, h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "step-name" }, T.stages[stage]), note) };
  });
  const preview = h("section", { class: "card preview", hidden: true }, h("h2", {}, T.job.preview), h("p", { class: "soft" }, T.job.previewLead));
  const log = logs();
  let said = "";
  return {
    element: h("div", { class: "making" },
      h("section", { class: "card now", "aria-label": T.job.progress },
        h("div", { class: "now-head" }, message, percent), bar, times,
        h("ol", { class: "steps", "aria-label": T.job.stages }, steps.map((step) => step.element))),
      preview,
      h("section", { class: "card" }, h("h2", {}, T.job.log), log.element)),
    update(job) {
      const { progress, state } = job;
      write(percent, `${number(progress.percent)} %`);
      bar.value = progress.percent;
      write(message, state === "waiting" ? T.job.waiting : state === "paused" ? T.states.paused : job.message);
      write(times, [
        state === "running" && progress.eta_s ? left(progress.eta_s) : "",
        progress.segments_total ? put(T.job.segments, { done: number(progress.segments_done), total: number(progress.segments_total) }) : "",
        progress.elapsed_s ? put(T.job.spent, { clock: clock(progress.elapsed_s) }) : "",
      ].filter(Boolean).join(" · ") || " ");
      const at = state === "waiting" && !progress.percent ? -1 : STAGES.indexOf(progress.stage);
      steps.forEach(({ element, note }, index) => {
        const word = index < at ? "done" : index === at ? "current" : "";
        if (element.className !== word) element.className = word;
        if (index === at) element.setAttribute("aria-current", "step");
        else element.removeAttribute("aria-current");
        const spent = progress.stage_seconds[STAGES[index]];
        write(note, index < at ? (spent ? `${number(spent, 1)} s` : T.job.stageDone) : index === at && state === "running" ? T.job.stageNow : "");
      });
      const word = at >= 0 && state === "running" ? T.stages[progress.stage] : T.states[state];
      if (word !== said) announce(put(T.job.stageSays, { stage: (said = word), percent: number(progress.percent) }));
      if (progress.early_preview && preview.hidden) {
        preview.hidden = false;
        preview.append(h("video", { controls: true, playsinline: true, preload: "metadata", src: progress.early_preview, "aria-label": T.job.preview }));
      }
      log.update(job.log);
    },
  };
}

/** The log as it grows: lines come once, by time and text, although each snapshot repeats the latest. */
function logs() {
  const seen = new Set();
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": T.job.log });
  const none = h("p", { class: "soft" }, T.job.logEmpty);
  return {
    element: h("div", {}, none, list),
    update(lines) {
      for (const line of lines) {
        const key = `${line.timestamp} ${line.message}`;
        if (line.level === "debug" || seen.has(key)) continue;
        seen.add(key);
        const below = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
        list.append(h("li", { class: line.level },
          h("time", { datetime: line.timestamp }, new Date(line.timestamp).toLocaleTimeString(T.locale)),
          h("span", { class: "log-stage" }, T.stages[line.stage] ?? ""),
          h("span", {}, T.levels[line.level] ? h("strong", {}, T.levels[line.level]) : null, line.message.charAt(0).toUpperCase() + line.message.slice(1))));
        if (below) list.scrollTop = list.scrollHeight;
      }
      none.hidden = seen.size > 0;
      list.hidden = !seen.size;
    },
  };
}

// -- when it has ended without a dub ----------------------------------------------------------------------------------

function ended({ job, again }) {
  const log = logs();
  const wrong = h("p", { class: "wrong", role: "alert" });
  const button = h("button", { class: "button strong", onclick: retried }, T.job.retry);
  async function retried() {
    button.disabled = true;
    try { again(await retry(job.id)); } catch (error) {
      write(wrong, `${error.message} ${error.hint}`);
      button.disabled = false;
    }
  }
  const failed = job.state === "failed";
  // many sentences of the service say after a semicolon what to do; for the others there is a hint here
  const [reason, ...advice] = failed ? job.error.message.split("; ") : [];
  const hint = advice.length ? sentence(advice.join("; ")) : T.hints[job.error?.code] ?? T.hints.internal;
  return {
    element: h("div", {},
      h("section", { class: `card over ${job.state}`, "aria-labelledby": "over" },
        h("h2", { id: "over" }, failed ? T.job.failed : T.job.cancelled),
        failed && h("p", { class: "reason" }, sentence(reason)),
        failed && h("p", {}, hint),
        wrong,
        h("div", { class: "actions" }, button, failed && h("a", { class: "button", href: "#/" }, T.job.again))),
      h("section", { class: "card" }, h("h2", {}, T.job.log), log.element)),
    update: (now) => log.update(now.log),
  };
}

// -- when the dub is there --------------------------------------------------------------------------------------------

function finished({ job, url, can, tab, again, signal }) {
  const element = h("div", {});
  const [main] = job.target_langs;
  let target = main;
  let latest = job;
  let watching;

  function draw() {
    const burnt = (job.subtitles ?? can.default_subtitles) === "burn";
    const further = target === main ? "" : target;
    watching?.stop();
    watching = player({ job, url, further, target, burnt });
    const log = logs();
    const views = {
      segments: () => sentences({ url, target, job, player: watching, signal, again: redub }),
      quality: () => quality({ job: latest, url, further, player: watching, signal }),
      files: () => downloads(url, main, signal),
      log: () => { log.update(latest.log); return log.element; },
    };
    fill(element,
      job.target_langs.length > 1 && choice(T.job.target,
        job.target_langs.map((code) => [code, language(code)]), target, (code) => { target = code; draw(); }),
      watching.element,
      tabs(job.id, views, tab));
  }

  async function redub(changes) {
    const address = `${url}/segments?target=${target}`;
    for (let at = 0; at < changes.length; at += 1000) await patch(address, changes.slice(at, at + 1000));
    const now = await post(`${url}/redub`);
    announce(T.segments.saved);
    again(now);
  }

  signal.addEventListener("abort", () => watching.stop());
  draw();
  return { element, update: (now) => { latest = now; } };
}

function tabs(id, views, wanted) {
  const names = Object.keys(views);
  const panel = h("div", { role: "tabpanel", id: "panel", tabindex: "0" });
  const made = new Map();
  const buttons = names.map((name) => h("button", {
    role: "tab", id: `tab-${name}`, "aria-controls": "panel", onclick: () => choose(name),
    onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const to = event.key === "Home" ? 0 : event.key === "End" ? names.length - 1
        : step ? (names.indexOf(name) + step + names.length) % names.length : -1;
      if (to < 0) return;
      event.preventDefault();
      choose(names[to]);
      buttons[to].focus();
    },
  }, T.job.tabs[name]));
  function choose(name) {
    buttons.forEach((button, index) => {
      button.setAttribute("aria-selected", String(names[index] === name));
      button.tabIndex = names[index] === name ? 0 : -1;
    });
    if (!made.has(name)) made.set(name, views[name]());
    panel.setAttribute("aria-labelledby", `tab-${name}`);
    fill(panel, made.get(name));
    history.replaceState(null, "", `#/jobs/${encodeURIComponent(id)}${name === names[0] ? "" : `/${name}`}`);
  }
  choose(names.includes(wanted) ? wanted : names[0]);
  return h("section", { class: "card tabs" }, h("div", { role: "tablist", "aria-label": T.titles.job }, buttons), panel);
}
