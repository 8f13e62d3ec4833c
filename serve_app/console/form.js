// The form for new dubs, and the uploads. These outlive the view: whoever looks at another video meanwhile loses nothing.

import { get, post, upload } from "./api.js";
import { announce, bytes, choice, fill, h, language, number, plural, put, sentence, write } from "./dom.js";
import { T } from "./texts.js";

const KINDS = /^(video|audio)\//;
const SUFFIXES = /\.(mp4|m4v|mov|mkv|webm|avi|wmv|asf|flv|mp3|wav|flac|ogg)$/i;
const KEPT = "dubserve.choices";

let known;
/** What the service can do; asked once. */
export function possible() {
  known ??= get("/v1/languages").catch((error) => { known = undefined; throw error; });
  return known;
}

// -- uploads ----------------------------------------------------------------------------------------------------------

const uploads = [];
let busy = false;
const listeners = new Set();
const tell = (one, job) => listeners.forEach((listen) => listen(one, job));

async function send() {
  if (busy) return;
  busy = true;
  for (let one; (one = uploads.find((each) => each.state === "waiting"));) await sendOne(one);
  busy = false;
}

async function sendOne(one) {
  one.state = "sending";
  tell(one);
  let job;
  try {
    job = await upload("/v1/jobs", form(one), (share) => { one.share = share; tell(one); }, one.stop.signal);
    one.state = "sent";
    announce(put(T.form.sent, { name: one.file.name }));
  } catch (error) {
    one.state = error.name === "AbortError" ? "stopped" : "failed";
    one.error = error;
  }
  if (one.state !== "failed") uploads.splice(uploads.indexOf(one), 1);
  tell(one, job);
}

function form({ file, asked }) {
  const body = new FormData();
  body.set("title", file.name);
  asked.targets.forEach((target) => body.append("target_langs", target));
  if (asked.source) body.set("source_lang", asked.source);
  if (asked.voice !== "neutral") body.set("voice_gender", asked.voice);
  body.set("subtitles", asked.subtitles);
  body.set("file", file);
  return body;
}

window.addEventListener("beforeunload", (event) => {
  if (uploads.some((one) => one.state === "sending" || one.state === "waiting")) event.preventDefault();
});

/** The uploads under way, one line each. */
export function sending(signal, onjob) {
  const box = h("ul", { class: "uploads", "aria-label": T.form.done });
  const lines = new Map();
  function update(one, job) {
    if (!uploads.includes(one)) {
      lines.get(one)?.element.remove();
      lines.delete(one);
    } else {
      if (!lines.has(one)) {
        lines.set(one, line(one));
        box.append(lines.get(one).element);
      }
      lines.get(one).update();
    }
    box.hidden = !lines.size;
    if (job) onjob(job, one.alone);
  }
  uploads.forEach((one) => update(one));
  box.hidden = !lines.size;
  listeners.add(update);
  signal.addEventListener("abort", () => listeners.delete(update));
  return box;
}

function line(one) {
  const name = { name: one.file.name };
  const bar = h("progress", { max: 1, value: 0, "aria-label": put(T.form.sending, name) });
  const note = h("span", { class: "soft" });
  const stop = h("button", { class: "plain", "aria-label": put(T.form.stop, name), onclick: dismiss }, "×");
  const head = h("div", { class: "upload-head" }, h("strong", {}, one.file.name), note, stop);
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  function dismiss() {
    one.stop.abort();
    if (one.state !== "sending") {
      uploads.splice(uploads.indexOf(one), 1);
      tell(one);
    }
  }
  return {
    element: h("li", { class: "upload" }, head, bar, wrong),
    update() {
      bar.value = one.share ?? 0;
      bar.hidden = one.state === "failed";
      write(note, one.state === "waiting" ? T.form.waiting
        : one.state === "failed" ? "" : `${number((one.share ?? 0) * 100)} % · ${bytes(one.file.size)}`);
      wrong.hidden = one.state !== "failed";
      if (one.state === "failed") write(wrong, `${put(T.form.failed, name)}. ${sentence(one.error.message)} ${one.error.hint}`);
    },
  };
}

// -- the form ---------------------------------------------------------------------------------------------------------

export function newDub(can) {
  const asked = remembered(can);
  let files = [];
  const input = h("input", {
    type: "file", id: "files", class: "unseen", multiple: true, accept: "video/*,audio/*,.mkv,.flv,.wmv,.avi",
    onchange: () => { add(input.files); input.value = ""; },
  });
  const wrong = h("p", { class: "wrong", role: "alert", id: "form-wrong" });
  const chosen = h("ul", { class: "chosen", hidden: true });
  const targets = h("div", { class: "pills" });
  const button = h("button", { class: "button strong", type: "submit" }, T.form.nothing);
  const options = h("div", { class: "options" },
    h("div", { class: "field" },
      h("label", { for: "from" }, T.form.from),
      h("select", { id: "from", onchange: (event) => { asked.source = event.target.value; offer(); } },
        h("option", { value: "" }, T.form.auto),
        sources(can).map((code) => h("option", { value: code, selected: code === asked.source }, language(code))))),
    h("fieldset", { class: "field wide" }, h("legend", {}, T.form.to), targets),
    choice(T.form.voice, can.voices.map((one) => [one, T.form.voices[one]]), asked.voice, (one) => { asked.voice = one; }),
    choice(T.form.subtitles, ["soft", "burn", "none"].map((one) => [one, T.form.modes[one]]), asked.subtitles,
      (one) => { asked.subtitles = one; }),
    h("div", { class: "actions" }, button));

  function offer() {
    const possible = reach(can, asked.source);
    asked.targets = asked.targets.filter((code) => possible.includes(code));
    if (!asked.targets.length && possible.length === 1) asked.targets = [possible[0]];
    fill(targets, possible.map((code) =>
      h("label", { class: "pill" },
        h("input", {
          type: "checkbox", value: code, checked: asked.targets.includes(code),
          onchange: (event) => {
            asked.targets = event.target.checked ? [...asked.targets, code] : asked.targets.filter((one) => one !== code);
            write(wrong, "");
          },
        }),
        h("span", {}, language(code)))));
    if (!possible.length) fill(targets, h("p", { class: "soft" }, T.form.noPairs));
  }

  function add(found) {
    write(wrong, "");
    for (const file of found) {
      const facts = { name: file.name, size: bytes(file.size), limit: bytes(can.max_upload_bytes) };
      if (file.size > can.max_upload_bytes) write(wrong, put(T.form.tooLarge, facts));
      else if (!KINDS.test(file.type) && !SUFFIXES.test(file.name)) write(wrong, put(T.form.notVideo, facts));
      else files.push(file);
    }
    draw();
    if (files.length) button.focus();
  }

  function draw() {
    fill(chosen, files.map((file) =>
      h("li", {}, h("span", {}, file.name), h("span", { class: "soft" }, bytes(file.size)),
        h("button", {
          type: "button", class: "plain", "aria-label": put(T.form.remove, { name: file.name }),
          onclick: () => { files = files.filter((one) => one !== file); draw(); input.focus(); },
        }, "×"))));
    chosen.hidden = !files.length;
    write(button, files.length ? plural(files.length, T.form.submit) : T.form.nothing);
  }

  function submit(event) {
    event.preventDefault();
    if (!files.length) return refuse(T.form.pickFile, input);
    if (!asked.targets.length) return refuse(T.form.pickTarget, targets.querySelector("input"));
    localStorage.setItem(KEPT, JSON.stringify(asked));
    const alone = files.length === 1 && !uploads.length;
    for (const file of files) {
      const one = { file, asked: { ...asked, targets: [...asked.targets] }, state: "waiting", stop: new AbortController(), alone };
      uploads.push(one);
      tell(one);
    }
    files = [];
    draw();
    send();
  }

  function refuse(sentence, place) {
    write(wrong, "");
    requestAnimationFrame(() => write(wrong, sentence));
    place?.focus();
  }

  const drop = h("div", { class: "drop" },
    h("div", { class: "drop-words" },
      h("span", { class: "drop-title" }, T.form.drop),
      h("span", { class: "soft" }, T.form.or),
      input,
      h("label", { for: "files", class: "button" }, T.form.choose)),
    h("p", { class: "soft small" }, put(T.form.limit, { size: bytes(can.max_upload_bytes) })),
    chosen);
  const element = h("form", { class: "card new", onsubmit: submit, novalidate: true, "aria-labelledby": "new-title" },
    h("h2", { id: "new-title" }, T.form.title), drop, options, wrong);
  dropping(element, add);
  offer();
  return element;
}

function dropping(element, add) {
  let depth = 0;
  const over = (by) => { depth += by; element.classList.toggle("over", depth > 0); };
  element.addEventListener("dragenter", (event) => { event.preventDefault(); over(1); });
  element.addEventListener("dragleave", () => over(-1));
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => { event.preventDefault(); over(-depth); add(event.dataTransfer.files); });
}

const sources = ({ heard, pairs }) => heard.filter((code) => pairs.some(([from]) => from === code));

/** The targets that can be had from a language; when it is still to be detected, from any. */
function reach({ languages, pairs }, source) {
  return languages.filter((code) => pairs.some(([from, to]) => to === code && (!source || from === source)));
}

function remembered(can) {
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(KEPT)) ?? {}; } catch { /* nothing that could be read */ }
  return {
    source: sources(can).includes(kept.source) ? kept.source : "",
    targets: Array.isArray(kept.targets) ? kept.targets : [],
    voice: can.voices.includes(kept.voice) ? kept.voice : "neutral",
    subtitles: can.subtitles.includes(kept.subtitles) ? kept.subtitles : "soft",
  };
}

export const retry = (id) => post(`/v1/jobs/${encodeURIComponent(id)}/retry`);
