// Original and dub side by side, as one player. The one that is heard leads, so that its sound never changes speed; the
// other follows: small differences by a slightly other speed, large ones by a jump. When one has to load, both wait.

import { choice, clock, h, language, put, write } from "./dom.js";
import { T } from "./texts.js";

const NOTICED_S = 0.04;
const JUMP_S = 0.3;
const CORRECTION = 0.08;

export function player({ job, url, further, target, burnt }) {
  const end = further ? `.${further}` : "";
  const original = screen("original", T.player.original, `${url}/source`, T.player.noOriginal,
    [`${url}/artifacts/subtitles.vtt`, job.source_lang]);
  const dub = screen("dub", `${T.player.dub}: ${language(target)}`, `${url}/artifacts/translated${end}.mp4`, T.player.noDub,
    [`${url}/artifacts/translated_subtitles${end}.vtt`, target]);
  const both = [original, dub];
  let heard = dub;
  let wanted = false;
  const duration = job.result.duration_s;
  const listeners = new Set();

  const button = h("button", { class: "button strong play", "data-icon": "play", onclick: () => (wanted ? pause() : play()) }, T.player.play);
  const slider = h("input", {
    type: "range", min: 0, max: String(duration), value: 0, step: "0.1", class: "seek", "aria-label": T.player.seek,
    oninput: () => seek(Number(slider.value)),
  });
  const time = h("span", { class: "time" });
  const full = h("button", { class: "plain full", onclick: () => (document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen()) }, T.player.full);
  const shows = h("input", { type: "checkbox", checked: !burnt, onchange: () => subtitles(shows.checked) });
  const sound = choice(T.player.sound, [["dub", T.player.dub], ["original", T.player.original]], "dub",
    (one) => listen(one === "dub" ? dub : original));

  const usable = () => both.filter((one) => !one.broken);
  const led = () => (heard.broken ? usable()[0] ?? heard : heard);

  function play() {
    if (led().video.ended) seek(0);
    wanted = true;
    settle();
  }

  function pause() {
    wanted = false;
    settle();
  }

  /** Brings both to what is wanted: they play together or not at all. */
  function settle() {
    const ready = usable().length > 0 && usable().every(({ video }) => video.readyState >= 3 || video.ended);
    for (const { video } of usable()) {
      if (wanted && ready && !video.ended) video.play().catch(() => {});
      else if (!video.paused) video.pause();
    }
    write(button, wanted ? T.player.pause : T.player.play);
    button.dataset.icon = wanted ? "pause" : "play";
    element.classList.toggle("playing", wanted);
  }

  function seek(seconds) {
    for (const { video } of usable()) video.currentTime = Math.min(seconds, video.duration || duration);
    tick();
  }

  function listen(one) {
    heard = one;
    for (const { video } of both) {
      video.muted = video !== led().video;
      video.playbackRate = 1;
    }
  }

  function subtitles(on) {
    for (const { video } of both) for (const track of video.textTracks) track.mode = on ? "showing" : "hidden";
  }

  function tick() {
    const { video } = led();
    const now = video.currentTime;
    slider.value = String(now);
    slider.style.setProperty("--done", `${(100 * now) / duration}%`);
    const words = put(T.player.at, { now: clock(now), all: clock(duration) });
    write(time, `${clock(now)} / ${clock(duration)}`);
    slider.setAttribute("aria-valuetext", words);
    listeners.forEach((tell) => tell(now));
    if (video.ended && wanted) pause();
    for (const { video: other } of usable()) if (other !== video && !other.seeking && !other.ended) pull(other, now);
  }

  function pull(video, now) {
    const ahead = video.currentTime - now;
    if (Math.abs(ahead) > JUMP_S) video.currentTime = now;
    video.playbackRate = Math.abs(ahead) < NOTICED_S ? 1 : 1 - Math.max(-CORRECTION, Math.min(CORRECTION, ahead));
  }

  for (const one of both) {
    one.video.addEventListener("error", () => { one.fail(); listen(heard); settle(); }, true);
    for (const name of ["waiting", "canplay", "seeked", "ended"]) one.video.addEventListener(name, settle);
    one.video.addEventListener("timeupdate", () => { if (one === led()) tick(); });
    one.video.addEventListener("ended", tick);
    one.video.addEventListener("click", () => (wanted ? pause() : play()));
  }

  const element = h("section", { class: "player", "aria-label": T.player.title },
    h("div", { class: "screens" }, both.map((one) => one.element)),
    h("div", { class: "controls" }, button, slider, time),
    h("div", { class: "controls second" }, sound,
      h("label", { class: "check" }, shows, h("span", {}, T.player.subtitles)),
      burnt && h("span", { class: "soft small" }, T.player.burnt),
      document.fullscreenEnabled && full));
  element.addEventListener("fullscreenchange", () => write(full, document.fullscreenElement ? T.player.small : T.player.full));
  listen(dub);
  subtitles(!burnt);
  tick();
  return {
    element,
    seek,
    onmove: (tell) => listeners.add(tell),
    stop() {
      wanted = false;
      for (const { video } of both) { video.pause(); video.removeAttribute("src"); video.load(); }
    },
  };
}

function screen(kind, label, source, apology, [track, code]) {
  const spoken = code && code !== "auto" ? code : "en";
  const video = h("video", { playsinline: true, preload: "auto", src: source, "aria-label": label, class: kind },
    h("track", { kind: "subtitles", src: track, srclang: spoken, label: language(spoken) }));
  const note = h("p", { class: "note", hidden: true }, apology);
  const one = {
    video,
    broken: false,
    element: h("figure", { class: "screen" }, video, note, h("figcaption", {}, label)),
    fail() {
      if (!video.error) return; // a track that is missing is no reason to give up the film
      one.broken = true;
      video.hidden = true;
      note.hidden = false;
    },
  };
  return one;
}
