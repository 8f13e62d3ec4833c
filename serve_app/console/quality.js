// What was measured on the dub, what was decided on the way, and the files that came out.

import { get } from "./api.js";
import { bytes, figure, fill, h, language, number, span } from "./dom.js";
import { T } from "./texts.js";

export function figures(job, further) {
  const result = further ? job.result.further[further] : job.result;
  const { quality } = result;
  const words = T.quality;
  const share = (value) => (value === null ? words.unknown : `${number(value)} %`);
  const shown = [
    ["lip_sync", share(quality.lip_sync)],
    ["voice", share(quality.voice)],
    ["translation", share(quality.translation)],
    ["lufs", quality.lufs === null ? words.unknown : `${number(quality.lufs, 1)} LUFS`],
    ["mean_tempo", quality.mean_tempo === null ? words.unknown : `× ${number(quality.mean_tempo, 2)}`],
    ["duration", quality.duration_match === null ? words.unknown : quality.duration_match ? words.yes : words.no],
    ["condensed", number(quality.condensed)],
    ["processing", span(result.processing_s)],
  ];
  return h("div", {}, h("p", { class: "soft" }, words.lead),
    h("dl", { class: "figures" }, shown.map(([name, value]) => figure(words[name], value, words.notes[name]))));
}

export function decisions(url, signal) {
  const box = h("section", {}, h("h3", {}, T.quality.decisions), h("p", { class: "loading" }, T.loading));
  get(`${url}/insights`, { signal }).then((found) => {
    box.lastElementChild.replaceWith(h("ul", { class: "insights" }, found.map((one) =>
      h("li", { class: one.kind },
        h("strong", {}, one.title), h("p", {}, one.description),
        h("span", { class: "soft small" }, T.quality.impact[one.impact] ?? "")))));
  }, (error) => { if (!signal.aborted) box.lastElementChild.replaceWith(h("p", { class: "wrong" }, error.message)); });
  return box;
}

/** The files of a job; a name as translated.fr.mp4 is that of a further language. */
export function downloads(url, main, signal) {
  const box = h("div", {}, h("p", { class: "loading" }, T.loading));
  get(`${url}/result`, { signal }).then(({ artifacts, output_bytes: size }) => {
    const rows = Object.entries(artifacts).map(([name, href]) => row(name, href, main, name === "translated.mp4" ? size : 0));
    fill(box, rows.length ? h("ul", { class: "files" }, rows) : h("p", { class: "soft" }, T.files.none));
  }, (error) => { if (!signal.aborted) fill(box, h("p", { class: "wrong" }, `${error.message} ${error.hint}`)); });
  return box;
}

function row(name, href, main, size) {
  const parts = name.split(".");
  const ending = parts.pop();
  const [stem, further] = parts;
  const label = T.files.names[`${stem}.${ending}`] ?? name;
  const about = [ending.toUpperCase(), stem.startsWith("translated") ? language(further || main) : further && language(further), size && bytes(size)];
  return h("li", {}, h("a", { href, download: "" }, label), h("span", { class: "soft" }, about.filter(Boolean).join(" · ")));
}

