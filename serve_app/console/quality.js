// What was measured on the dub, what was decided on the way, and the files that came out.

import { get } from "./api.js";
import { bytes, clock, figure, fill, h, language, number, put, sentence, span } from "./dom.js";
import { PACES, timeline } from "./segments.js";
import { T } from "./texts.js";

const W = T.quality;

export function quality({ job, url, further, player, signal }) {
  const page = `${url}/report${further ? `?target=${further}` : ""}`;
  return h("div", { class: "quality" },
    figures(job, further),
    reported({ url, further, player, signal }),
    decisions(url, signal),
    h("p", {}, h("a", { href: page, target: "_blank", rel: "noopener" }, W.report)));
}

/** What the report says beyond the figures: when and how fast, which bounds were kept, and what is amiss. */
function reported({ url, further, player, signal }) {
  const box = h("div", { class: "quality" }, h("p", { class: "loading" }, T.loading));
  get(`${url}/artifacts/report${further ? `.${further}` : ""}.json`, { signal }).then((report) => fill(box,
    h("section", {}, h("h2", {}, W.timeline),
      timeline(report.segments.map((row) => ({ ...row, until: row.dub_end })), report.output.duration, player), key()),
    report.faults?.length > 0 && h("section", {}, h("h2", {}, W.faults), faults(report.faults, player)),
    report.gates?.length > 0 && h("section", {}, h("h2", {}, W.gates), gates(report.gates)),
  ), (error) => { if (!signal.aborted) fill(box, h("p", { class: "wrong" }, `${error.message} ${error.hint ?? ""}`)); });
  return box;
}

const key = () => h("p", { class: "key soft small" }, h("span", { class: "heard" }, W.heard),
  PACES.map(([, name]) => h("span", { class: name }, T.segments.paces[name])));

function faults(found, player) {
  return h("ul", { class: "faults" }, found.map((fault) => h("li", {},
    h("button", { class: "plain", "aria-label": put(W.play, { clock: clock(fault.start) }), onclick: () => player.seek(fault.start) }, clock(fault.start, true)),
    h("span", {}, sentence(fault.message), fault.mended && h("span", { class: "soft" }, ` (${W.mended})`)))));
}

function gates(found) {
  const measured = found.filter((gate) => gate.value !== null);
  return h("table", { class: "gates" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, W.gate), h("th", { scope: "col", class: "n" }, W.wanted), h("th", { scope: "col", class: "n" }, W.reached))),
    h("tbody", {}, measured.map((gate) => h("tr", {},
      h("th", { scope: "row" }, W.gateNames[gate.name] ?? gate.name.replaceAll("_", " ")),
      h("td", { class: "n" }, `${number(gate.wanted)} %`),
      h("td", { class: `n ${gate.passed ? "good" : "bad"}` }, `${number(gate.value)} %`, !gate.passed && `, ${W.tooLittle}`)))));
}

function figures(job, further) {
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

function decisions(url, signal) {
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
