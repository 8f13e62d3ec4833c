// Elements, figures and times. Texts only ever become text nodes: what films, files and callers say is never markup.

import { T } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const AS_PROPERTY = new Set(["value", "checked", "disabled", "hidden", "muted", "max", "min", "indeterminate"]);

/** An element: attributes, `onevent` listeners, and children (elements, texts, lists, null). */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false && !AS_PROPERTY.has(name)) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (AS_PROPERTY.has(name) && name in element && !(element instanceof SVGElement)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Changes a text only where it differs, so that nothing flickers and nothing is announced twice. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let ids = 0;
export const fresh = (stem) => `${stem}-${++ids}`;

const live = () => document.getElementById("live");
/** Says a sentence to those who listen to the page. */
export function announce(sentence) {
  live().textContent = "";
  requestAnimationFrame(() => { live().textContent = sentence; });
}

export function plural(count, [one, many]) {
  return (count === 1 ? one : many).replace("{n}", number(count));
}

export const put = (text, facts) => text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);

export const number = (value, digits = 0) =>
  value.toLocaleString(T.locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");

/** 0:07, 12:34 or 1:02:03; with tenths where asked. */
export function clock(seconds, tenths = false) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const whole = tenths ? Math.round(seconds * 10) / 10 : Math.floor(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = whole % 60;
  const second = (tenths ? rest.toFixed(1) : String(rest)).padStart(tenths ? 4 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${second}` : `${minutes}:${second}`;
}

/** "3 min": how long something took. */
export function span(seconds) {
  if (seconds <= 0) return T.span.none;
  if (seconds < 10) return put(T.span.seconds, { n: number(seconds, 1) });
  if (seconds < 90) return put(T.span.seconds, { n: number(seconds) });
  if (seconds < 5400) return put(T.span.minutes, { n: number(seconds / 60) });
  return put(T.span.hours, { n: number(seconds / 3600, 1) });
}

/** "about 3 min left", for a time that nobody knows exactly. */
export const left = (seconds) => put(T.span.left, { span: span(Math.max(1, Math.round(seconds))) });

/** A sentence of the service as one that stands alone. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");

export function bytes(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let step = 0;
  for (; count >= 1000 && step < units.length - 1; step += 1) count /= 1000;
  return `${number(count, step && count < 10 ? 1 : 0)} ${units[step]}`;
}

const names = new Intl.DisplayNames([T.locale], { type: "language" });
export const language = (code) => names.of(code);

const ages = new Intl.RelativeTimeFormat(T.locale, { numeric: "auto" });
export function ago(unix) {
  const seconds = unix - Date.now() / 1000;
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (-seconds >= size) return ages.format(Math.round(seconds / size), unit);
  }
  return T.now;
}

export const moment = (unix) =>
  new Date(unix * 1000).toLocaleString(T.locale, { dateStyle: "medium", timeStyle: "short" });

/** Buttons that choose one of several, as radio buttons are for the keyboard. */
export function choice(legend, options, chosen, onchange, { quiet = false } = {}) {
  const name = fresh("choice");
  return h("fieldset", { class: "choice" },
    h("legend", { class: quiet ? "unseen" : "" }, legend),
    h("div", { class: "choice-row" }, options.map(([value, label]) =>
      h("label", {},
        h("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onchange(value) }),
        h("span", {}, label)))));
}

export function figure(label, value, note = "") {
  return h("div", { class: "figure" }, h("dt", {}, label), h("dd", {}, value, note && h("small", {}, note)));
}

/** An error in words, what to do about it, and another try. */
export function problem(error, again) {
  return h("section", { class: "empty problem", role: "alert" },
    h("h1", { tabindex: "-1", "data-focus": true }, error.message || T.broken),
    error.hint && h("p", {}, error.hint),
    again && h("button", { class: "button", onclick: again }, T.tryAgain));
}

export function titled(text) {
  document.title = text ? `${text} · dubserve` : "dubserve";
}
