// The service's HTTP API, as a page of the service itself calls it: the key, if any, is in a cookie no script sees.

import { T } from "./texts.js";

const OURS = { "x-console": "1" };

/** What the service refused, or that it could not be reached: `sentence` says what, `hint` what to do. */
export class Refused extends Error {
  constructor(code, sentence, status = 0) {
    super(sentence);
    Object.assign(this, { code, status, hint: T.hints[code] ?? "" });
  }
}

export const away = () => new Refused("unreachable", T.unreachable);

let onSignedOut = () => {};
export function whenSignedOut(act) { onSignedOut = act; }

function refusal(status, body) {
  const { code = "internal", message = T.broken } = body?.error ?? {};
  if (status === 401) onSignedOut();
  return new Refused(code, sentence(message), status);
}

export function sentence(message) {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

export async function call(path, { method = "GET", body, signal } = {}) {
  const headers = { ...OURS, ...(body === undefined ? {} : { "content-type": "application/json" }) };
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    throw error.name === "AbortError" ? error : away();
  }
  const content = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw refusal(answer.status, content);
  return { content, next: /<([^>]+)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1] ?? "" };
}

export const get = async (path, options) => (await call(path, options)).content;
export const post = async (path, body) => (await call(path, { method: "POST", body })).content;
export const patch = async (path, body) => (await call(path, { method: "PATCH", body })).content;

/** Sends a form with a file; `onprogress` hears the share of it that has gone out. `signal` takes it back. */
export function upload(path, form, onprogress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("x-console", "1");
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onprogress(event.loaded / event.total);
    request.onload = () =>
      request.status < 300 ? resolve(request.response) : reject(refusal(request.status, request.response));
    request.onerror = () => reject(new Refused("upload_broken", T.uploadBroken));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); });
});

/** A job live: `onjob` with each snapshot until it has ended. A stream that breaks is taken up again, and `onbreak` told. */
export async function follow(id, onjob, onbreak, signal) {
  for (let wait = 500; !signal.aborted; wait = Math.min(wait * 2, 8000)) {
    try {
      for await (const job of events(`/v1/jobs/${encodeURIComponent(id)}/events`, signal)) {
        wait = 500;
        onbreak(null);
        onjob(job);
        if (job.status !== "processing") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status && error.status < 500) throw error;
      onbreak(error);
    }
    await pause(wait, signal);
  }
}

async function* events(path, signal) {
  let answer;
  try {
    answer = await fetch(path, { headers: OURS, signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : away();
  }
  if (!answer.ok) throw refusal(answer.status, await answer.json().catch(() => null));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}
