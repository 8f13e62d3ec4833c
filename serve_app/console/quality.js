// What was measured on the dub, what was decided on the way, and the files that came out.

import { get } from "./api.js";
import { bytes, figure, fill, h, language, number, put, span } from "./dom.js";
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
  const box = h("section", { class: "decisions" }, h("h2", {}, T.quality.decisions), h("p", { class: "loading" }, T.loading));
  get(`${url}/insights`, { signal }).then((found) => {
    box.lastElementChild.replaceWith(h("ul", { class: "insights" }, found.map((one) =>
      h("li", { class: one.kind },
        h("strong", {}, one.title), h("p", {}, one.description),
        h("span", { class: "soft small" }, T.quality.impact[one.impact] ?? "")))));
  }, (error) => { if (!signal.aborted) box.lastElementChild.replaceWith(h("p", { class: "wrong" }, error.message)); });
  return box;
}

/** The files of a job, a line for each thing, with the formats it comes in. */
export function downloads(url, main, signal) {
  const box = h("div", {}, h("p", { class: "loading" }, T.loading));
  get(`${url}/result`, { signal }).then(({ artifacts, output_bytes: size }) => {
    const lines = Map.groupBy(Object.entries(artifacts), ([name]) => name.slice(0, name.lastIndexOf(".")));
    const rows = [...lines].map(([stem, files]) => row(stem, files, main, size));
    fill(box, rows.length ? h("ul", { class: "files" }, rows) : h("p", { class: "soft" }, T.files.none));
  }, (error) => { if (!signal.aborted) fill(box, h("p", { class: "wrong" }, `${error.message} ${error.hint}`)); });
  return box;
}

/** `stem` is as translated, or translated.fr for a further language. */
function row(stem, files, main, size) {
  const [kind, further] = stem.split(".");
  const name = T.files.names[kind] ?? kind;
  const spoken = further || (kind.startsWith("translated") ? main : "");
  const about = [spoken && language(spoken), stem === "translated" && bytes(size)].filter(Boolean).join(" · ");
  return h("li", {},
    h("span", {}, h("strong", {}, name), about && h("span", { class: "soft" }, ` · ${about}`)),
    h("span", { class: "kinds" }, files.map(([file, href]) => {
      const ending = file.split(".").pop().toUpperCase();
      return h("a", { href, download: "", "aria-label": put(T.files.as, { name, kind: ending }) }, ending);
    })));
}
