// Which view is shown, who is signed in, and the way between views. A view is a function of the page, the words of its
// address, and a signal that aborts when it is left; the rarer ones are only loaded when somebody goes there.

import { away, call, get, post, whenSignedOut } from "./api.js";
import { announce, fill, h, problem, put, titled, write } from "./dom.js";
import { T } from "./texts.js";
import { videos } from "./list.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const who = document.getElementById("who");
const foot = document.getElementById("foot");

export const session = { tenant: null, keys_required: false, operator: false };

const VIEWS = {
  "": async () => videos,
  jobs: async () => (await import("./job.js")).job,
  service: async () => (await import("./service.js")).service,
  "sign-in": async () => signIn,
};

let leaving = new AbortController();
let shown = "";

async function show() {
  const address = location.hash.replace(/^#\/?/, "");
  const [name, ...words] = address.split("/").map(decodeURIComponent);
  if (shown && name === "jobs" && words[0] === shown) return; // another tab of the same job is its own business
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const first = shown === "";
  shown = name === "jobs" ? words[0] : name || "list";
  draw(name);
  fill(main, h("p", { class: "loading" }, T.loading));
  const view = session.tenant === null && name !== "sign-in" ? signIn : await (VIEWS[name] ?? VIEWS[""])();
  if (signal.aborted) return;
  try {
    await view(main, words, signal);
  } catch (error) {
    if (signal.aborted) return;
    fill(main, problem(error, () => { shown = ""; show(); }));
  }
  if (!first && !signal.aborted) {
    window.scrollTo(0, 0);
    (main.querySelector("[data-focus]") ?? main).focus({ preventScroll: true });
  }
}

function draw(name) {
  const links = [["", T.nav.jobs], ["service", T.nav.service]];
  fill(nav, session.tenant === null ? null : links.map(([to, label]) =>
    h("a", { href: `#/${to}`, "aria-current": (name === "jobs" ? "" : name) === to ? "page" : undefined }, label)));
  fill(foot, h("a", { href: "/docs-site/" }, T.nav.help), h("a", { href: "/openapi.json" }, T.nav.api));
  const named = session.tenant && session.tenant !== "anonymous";
  fill(who,
    named && h("span", { class: "tenant", title: put(T.signIn.as, session) }, session.tenant),
    named && h("button", { class: "plain", onclick: signOut }, T.signIn.out),
    session.tenant === "anonymous" && h("a", { class: "plain", href: "#/sign-in" }, T.signIn.in));
}

// -- who is signed in -------------------------------------------------------------------------------------------------

async function ask() {
  Object.assign(session, await get("/v1/session"));
}

async function signOut() {
  await call("/v1/session", { method: "DELETE" });
  await ask();
  shown = "signed-out";
  if (location.hash === "#/" || location.hash === "") await show();
  else location.hash = "#/";
}

function signIn(page, _, signal) {
  titled(T.titles.signIn);
  const wrong = h("p", { class: "wrong", id: "key-wrong", role: "alert" });
  const key = h("input", {
    id: "key", name: "key", type: "password", autocomplete: "current-password", spellcheck: "false",
    placeholder: T.signIn.placeholder, "aria-describedby": "key-wrong key-kept", required: true,
  });
  const button = h("button", { class: "button strong", type: "submit" }, T.signIn.enter);
  async function enter(event) {
    event.preventDefault();
    if (!key.value.trim()) {
      write(wrong, T.signIn.empty);
      key.focus();
      return;
    }
    button.disabled = true;
    try {
      Object.assign(session, await post("/v1/session", { key: key.value.trim() }));
      announce(put(T.signIn.as, session));
      shown = "sign-in"; // so that the next view takes the focus
      if (location.hash === "#/sign-in") location.hash = "#/";
      else if (!signal.aborted) await show();
    } catch (error) {
      write(wrong, `${error.message} ${error.hint}`);
      key.setAttribute("aria-invalid", "true");
      key.select();
    } finally {
      button.disabled = false;
    }
  }
  fill(page, h("form", { class: "card sign-in", onsubmit: enter, novalidate: true },
    h("h1", { tabindex: "-1", "data-focus": true }, T.signIn.title),
    h("p", {}, T.signIn.lead, " ", h("code", {}, T.signIn.command)),
    h("label", { for: "key" }, T.signIn.label), key, wrong, button,
    h("p", { class: "soft", id: "key-kept" }, T.signIn.kept)));
}

whenSignedOut(async () => {
  const before = session.tenant;
  await ask().catch(() => {});
  if (before !== null && session.tenant === null) {
    shown = "";
    await show();
  }
});

// -- begin ------------------------------------------------------------------------------------------------------------

async function begin() {
  try {
    await ask();
  } catch {
    fill(main, problem(away(), begin));
    return;
  }
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is the view's
    main.focus();
  });
  window.addEventListener("hashchange", show);
  await show();
}

begin();
