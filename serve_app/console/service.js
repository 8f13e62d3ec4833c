// What the service is doing, for whom, and what was used: everybody's own, and for an operator that of all.

import { get } from "./api.js";
import { bytes, clock, fill, h, number, put, span, titled } from "./dom.js";
import { session } from "./app.js";
import { T } from "./texts.js";

const LOOK_MS = 3000;
const W = T.service;

export async function service(page, _, signal) {
  titled(T.titles.service);
  const usage = await get("/v1/usage", { signal });
  const parts = h("ul", { class: "parts", "aria-label": W.parts });
  const tenants = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "tenants" });
  const states = h("dl", { class: "figures tight" });
  const lead = h("p", { class: "soft" });
  fill(page,
    h("h1", { tabindex: "-1", "data-focus": true }, W.title),
    parts,
    session.operator && h("section", { class: "card" }, h("h2", { id: "tenants" }, W.all), lead, states, tenants),
    h("section", { class: "card" }, h("h2", {}, W.yours), h("p", { class: "soft" }, W.yoursLead), own(usage),
      h("p", {}, h("a", { href: "/v1/usage?format=csv", download: "usage.csv" }, W.csv))));

  async function look() {
    const [ready, all] = await Promise.all([
      fetch("/readyz", { signal }).then((answer) => answer.json()),
      session.operator ? get("/v1/overview", { signal }) : null,
    ]);
    fill(parts, Object.entries(ready.parts).map(([name, up]) =>
      h("li", { class: up ? "up" : "down" }, name, " ", h("span", { class: "soft" }, up ? W.up : W.down))));
    if (!all) return;
    lead.textContent = put(W.allLead, { n: number(all.window_s / 60) });
    fill(states, ["waiting", "running", "paused", "completed", "failed", "cancelled"].map((state) =>
      h("div", { class: "figure" }, h("dt", {}, T.states[state]), h("dd", {}, number(all.states[state] ?? 0)))));
    fill(tenants, shares(all.tenants));
  }
  const timer = setInterval(() => { if (!document.hidden) look().catch(() => {}); }, LOOK_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  await look();
}

function own({ total }) {
  if (!total.jobs) return h("p", { class: "soft" }, W.nothing);
  const shown = [
    [W.jobs, number(total.jobs)], [W.minutes, clock(Math.round(total.video_s))],
    [W.characters, number(total.characters_translated)], [W.cpu, span(total.cpu_s)], [W.gpu, span(total.gpu_s)],
  ];
  return h("dl", { class: "figures" }, shown.map(([label, value]) =>
    h("div", { class: "figure" }, h("dt", {}, label), h("dd", {}, value))));
}

function shares(rows) {
  const head = [[W.tenant, ""], [W.waiting, "n"], [W.running, "n"], [W.failed, "n"], [W.weight, "n"], [W.owed, ""], [W.had, ""],
    [W.limits, ""], [W.jobs, "n"], [W.minutes, "n"], [W.cpu, "n"]];
  const figure = (text) => h("td", { class: "n" }, text);
  return h("table", {},
    h("thead", {}, h("tr", {}, head.map(([word, kind]) => h("th", { scope: "col", class: kind || undefined }, word)))),
    h("tbody", {}, rows.map(({ tenant, states, owed, had, usage }) => h("tr", {},
      h("th", { scope: "row" }, tenant.name),
      [states.waiting, states.running, states.failed].map((many) => figure(number(many))),
      figure(number(tenant.weight, tenant.weight % 1 ? 1 : 0)),
      h("td", {}, share(owed)), h("td", {}, share(had)),
      h("td", { class: "limits" }, limits(tenant)),
      [number(usage.jobs), usage.video_s ? clock(Math.round(usage.video_s)) : "–", usage.cpu_s ? span(usage.cpu_s) : "–"].map(figure)))));
}

/** A part of the whole as a bar with its figure. */
function share(part) {
  if (part === null) return "–";
  return h("span", { class: "share" }, h("progress", { max: 1, value: part, "aria-hidden": "true" }), `${number(part * 100)} %`);
}

function limits(tenant) {
  const words = Object.entries(W.limit).filter(([name]) => tenant[name] !== null)
    .map(([name, text]) => put(text, { n: name === "stored_bytes" ? bytes(tenant[name]) : number(tenant[name]) }));
  return words.join(", ") || W.noLimits;
}
