// The API of this server: JSON calls, uploads, live events. Knows nothing of the page.

const KEY = "genyard-key";

export class ApiError extends Error {
  constructor(status, told) {
    super(told.message);
    Object.assign(this, { status, ...told });
  }
}

export const key = () => sessionStorage.getItem(KEY) || "";
export const useKey = (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY));

async function send(path, options = {}) {
  let response;
  try {
    const headers = key() ? { ...options.headers, Authorization: `Bearer ${key()}` } : options.headers;
    response = await fetch(path, { ...options, headers });
  } catch (broken) {
    if (broken.name === "AbortError") throw broken;
    throw new ApiError(0, { code: "page.no_answer", message: "The genyard server does not answer. Is it still running?", remedy: "operator" });
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new ApiError(response.status, told.error || { code: `http.${response.status}`, message: response.statusText, remedy: "operator" });
}

export const get = async (path) => (await send(path)).json();
export const blob = async (path) => (await send(path)).blob();
export const remove = (path) => send(path, { method: "DELETE" });

export async function post(path, body, more = {}) {
  const options = { method: "POST", headers: { "Content-Type": "application/json", ...more }, body: JSON.stringify(body ?? {}) };
  return (await send(path, options)).json();
}

export async function upload(file) {
  const form = new FormData();
  form.append("file", file, file.name || "picture");
  return (await (await send("/v1/assets", { method: "POST", body: form })).json()).assets[0];
}

/** A key of its own per press of the button: a repeated request is not a second job. */
export const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");

/** The job's events, live; connects again where the stream broke. `lost(true|false)` tells of the connection. */
export async function* events(jobId, { signal, lost }) {
  let after = 0;
  for (let tries = 0; ; tries++) {
    try {
      const response = await send(`/v1/jobs/${jobId}/events`, { signal, headers: { "Last-Event-ID": String(after) } });
      if (response.status === 204) return;
      lost(false);
      for await (const event of parsed(response.body)) {
        tries = 0;
        if (event.seq) after = event.seq;
        yield event;
        if (["succeeded", "failed", "canceled", "expired"].includes(event.kind)) return;
      }
    } catch (broken) {
      if (signal.aborted || (broken.status && broken.status < 500)) throw broken;
      lost(true);
    }
    await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** tries, 8000)));
    if (signal.aborted) return;
  }
}

async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}
