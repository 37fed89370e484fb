// The stage: a job on its way, what came of it, or why nothing did.

import { blob } from "./api.js";
import { $, bytes, duration, el, local, picture, words } from "./dom.js";
import { operationName } from "./form.js";

const REMEDIES = {
  fix_request: "Change the request and try again.",
  retry_here: "Nothing is wrong with the request. Try again in a moment.",
  try_elsewhere: "Nothing is wrong with the request: the place could not do it. Try again, or use another model.",
  operator: "Whoever runs this server has to act.",
};
const STATES = { queued: "Waiting for its turn", running: "Making it", canceling: "Stopping", retrying: "Trying again" };

export const showEmpty = () => $("result").replaceChildren($("empty").content.cloneNode(true));

export function showError(error) {
  $("result").replaceChildren(failure(error));
  $("live").textContent = `Error: ${error.message}`;
}

function failure(error, actions = []) {
  const problems = (error.context?.problems || []).map((one) => one.message || one);
  return el("div", { class: "failure", role: "alert" },
    el("h2", {}, error.code === "job.canceled" ? "Canceled" : "This did not work"),
    problems.length > 1 ? el("ul", {}, problems.map((one) => el("li", {}, String(one)))) : el("p", { class: "message" }, error.message),
    error.code === "job.canceled" ? null : el("p", {}, REMEDIES[error.remedy] || ""),
    el("p", { class: "code-line" }, el("code", {}, error.code), error.trace_id ? el("small", {}, `trace ${error.trace_id}`) : null),
    el("div", { class: "row" }, actions));
}

/** A job that has not ended. `update(event)` is called with what its stream tells. */
export function showRunning(job, { onCancel }) {
  const bar = el("progress", { max: 1, "aria-label": "Progress" });
  const detail = el("p", { class: "detail" }, STATES[job.state] || words(job.state));
  const seconds = el("span", { class: "seconds" }, "");
  const canvas = el("div", { class: "canvas waiting" }, el("div", { class: "shimmer" }));
  const cancel = el("button", { type: "button", class: "quiet", onclick: () => { cancel.disabled = true; onCancel(); } }, "Cancel");
  $("result").replaceChildren(canvas, el("div", { class: "progress" }, el("div", { class: "row" }, detail, seconds, cancel), bar));
  const started = Date.parse(job.created_at);
  const clock = setInterval(() => { seconds.textContent = duration(Math.max(0, Date.now() - started)); }, 200);
  let fetching = false, address = "", spoken = 0;

  async function unfinished() {
    if (fetching) return;
    fetching = true;
    try {
      URL.revokeObjectURL(address);
      address = URL.createObjectURL(await blob(`/v1/jobs/${job.id}/preview`));
      canvas.replaceChildren(el("img", { src: address, alt: "Unfinished picture", class: "unfinished" }));
    } catch { /* there is none any more: the next event says why */ }
    fetching = false;
  }

  function say(progress, text) {
    if (progress === null || progress === undefined) bar.removeAttribute("value");
    else bar.value = progress;
    const percent = progress ? ` ${Math.round(progress * 100)} %` : "";
    detail.textContent = text + percent;
    if (Date.now() - spoken > 4000) { spoken = Date.now(); $("live").textContent = text + percent; }
  }

  say(job.progress, job.detail || STATES[job.state] || words(job.state));
  if (job.has_preview) unfinished();
  return {
    update(event) {
      if (event.kind === "progress") {
        say(event.data.progress, event.data.detail ? words(event.data.detail) : STATES.running);
        if (event.data.preview) unfinished();
      } else if (STATES[event.kind]) say(null, STATES[event.kind]);
    },
    lost(is) { if (is) say(null, "The connection broke; the job goes on. Connecting again"); },
    stop() { clearInterval(clock); URL.revokeObjectURL(address); },
  };
}

export function showJob(job, actions) {
  const done = job.state === "succeeded";
  $("live").textContent = done ? `Done: ${job.outputs.length} output${job.outputs.length === 1 ? "" : "s"}.` : `The job ${job.state}.`;
  if (!done && !job.outputs.length) {
    const error = job.error || { code: `job.${job.state}`, message: `The job ${job.state}.`, remedy: "fix_request" };
    $("result").replaceChildren(failure({ trace_id: job.trace_id, ...error }, [again(actions), removal(actions)]), facts(job, null), tries(job));
    return;
  }
  const choose = (index) => {
    $("result").replaceChildren(...shown(job, job.outputs[index], actions, job.outputs.length > 1 ? strip : ""));
    for (const [position, one] of [...strip.children].entries()) one.setAttribute("aria-pressed", String(position === index));
  };
  const strip = el("div", { class: "strip", role: "group", "aria-label": "Outputs" }, job.outputs.map((asset, index) =>
    el("button", { type: "button", title: asset.name, "aria-label": asset.name, onclick: () => choose(index) }, picture(asset))));
  if (job.outputs.length) choose(0);
  else $("result").replaceChildren(el("div", { class: "empty" }, el("h2", {}, "Its outputs were deleted")), facts(job, null));
}

function shown(job, asset, actions, strip) {
  const address = local(asset.url);
  const kind = asset.media_type.split("/")[0];
  const view = kind === "video" ? el("video", { src: address, controls: true, loop: true, muted: true, autoplay: true, playsinline: true })
    : kind === "image" ? el("a", { href: address, target: "_blank", rel: "noopener", title: "Open in full size" }, el("img", { src: address, alt: job.steps.at(-1).parameters.prompt || asset.name, width: asset.width, height: asset.height }))
    : kind === "audio" ? el("audio", { src: address, controls: true }) : el("a", { href: address }, asset.name);
  const honest = asset.facts.ai === false ? el("span", { class: "badge", title: "Drawn by genyard's built-in renderer, without a model" }, "preview – not AI") : null;
  const seeded = job.steps.some((one) => "seed" in one.parameters);
  const use = () => { actions.onUse(asset, uses.value); uses.value = ""; };
  const uses = el("select", { "aria-label": "Use as input for", onchange: use }, el("option", { value: "" }, "Use as input…"), actions.uses(asset).map((name) => el("option", { value: name }, operationName(name))));
  return [
    el("div", { class: "canvas" }, view, honest), strip,
    el("div", { class: "actions" },
      el("a", { class: "button primary", href: `${address}&download=true`, download: asset.name }, "Download"),
      again(actions), seeded ? button("New seed", actions.onNewSeed) : null, uses,
      button("ZIP", () => zip(job)), removal(actions)),
    facts(job, asset), tries(job),
  ];
}

const button = (text, onclick, more = "") => el("button", { type: "button", class: `quiet ${more}`, onclick }, text);
const again = (actions) => button("Run again", actions.onAgain);
const removal = (actions) => button("Delete", () => confirm("Delete this job and its files for good?") && actions.onDelete(), "danger");

function facts(job, asset) {
  const known = asset?.facts || {};
  const step = job.steps.find((one) => one.name === asset?.step) || job.steps.at(-1);
  const took = job.finished_at && job.started_at ? duration(Date.parse(job.finished_at) - Date.parse(job.started_at)) : null;
  const commercial = { true: "yes", false: "no" }[String(known.commercial_use)] || (asset ? "not confirmed" : null);
  const rows = {
    Prompt: step.parameters.prompt, "Not understood": (known.ignored_terms || []).join(", "),
    "Cut out": known.cutout_method === "none" ? "no subject stands out; unchanged" : known.cutout_method,
    Seed: known.seed ?? step.parameters.seed, Model: known.model ?? step.model,
    "Asked for": known.requested_model, Endpoint: known.endpoint ?? job.attempts.at(-1)?.endpoint, Took: took,
    Execution: job.state === "succeeded" || !job.gpu_seconds ? null : ran(job.gpu_seconds.seconds, job.gpu_seconds.source) || "not known",
    Size: asset ? [asset.width && `${asset.width} × ${asset.height}${known.requested_width ? ` (asked for: ${known.requested_width} × ${known.requested_height})` : ""}`, asset.seconds && `${asset.seconds.toFixed(1)} s`, bytes(asset.bytes)].filter(Boolean).join(" · ") : null,
    Licence: known.licence, "Commercial use": commercial, Operation: job.steps.map((one) => one.operation).join(" → "), Job: job.id,
  };
  return el("dl", { class: "facts" }, Object.entries(rows).filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => el("div", { class: name === "Prompt" ? "wide" : null }, el("dt", {}, name), el("dd", {}, String(value)))));
}

const ran = (seconds, source) => seconds === null ? "" : `${source === "measured" ? "about " : ""}${seconds.toFixed(1)} s${source === "measured" ? " (measured)" : ""}`;
const money = (usd) => `$${usd.toFixed(4)}`;

/** Where a job has been, when, for how long, at what cost and why it did not stay; nothing where all went well at once. */
function tries(job) {
  if (job.attempts.length < 2 && (job.state === "succeeded" || !job.attempts.length)) return "";
  const rows = job.attempts.map((one) => el("tr", {},
    el("td", {}, `${one.stage + 1}.${one.number}`), el("td", {}, one.endpoint), el("td", {}, new Date(one.created_at).toLocaleTimeString()),
    el("td", {}, one.state), el("td", {}, ran(one.seconds, one.seconds_source)),
    el("td", {}, one.cost ? money(one.cost.usd) : ""), el("td", {}, one.error?.message || "")));
  const head = ["Try", "Place", "At", "Ended", "Execution", "Cost", "Why"].map((name) => el("th", {}, name));
  return el("details", { class: "tries" }, el("summary", {}, job.attempts.length === 1 ? "1 try" : `${job.attempts.length} tries`),
    el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

async function zip(job) {
  const address = URL.createObjectURL(await blob(`/v1/jobs/${job.id}/zip`));
  el("a", { href: address, download: `genyard-${job.id.slice(-12)}.zip` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
