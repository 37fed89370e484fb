// The page: ties the form, the stage and the gallery to the API.

import * as api from "./api.js";
import { $, el, picture, words } from "./dom.js";
import { OperationForm, operationName } from "./form.js";
import { showEmpty, showError, showJob, showRunning } from "./result.js";

const PAGE = 24;
const state = { operations: [], health: null, shown: null, watching: null, next: null, sending: false };
const form = new OperationForm(refreshButton);

/** Runs an action; asks for a key where one is needed, shows every other error. */
async function guarded(action, onError = (error) => showError(error)) {
  try {
    return await action();
  } catch (error) {
    if (error.name === "AbortError") return null;
    if (error.status === 401) askForKey();
    else onError(error);
    return null;
  }
}

// ---- what can be done ----

/** Drawn once; read again when a place comes or goes, without touching what was typed. */
async function loadOperations() {
  state.operations = (await api.get("/v1/operations")).operations;
  if ($("operations").querySelector("label")) return showLicence();
  $("operations").append(...state.operations.map((one) => {
    const input = el("input", { type: "radio", name: "operation", value: one.name, id: `o-${one.name}`, checked: one.name === "txt2img", onchange: showOperation });
    return el("label", { title: one.summary, class: serving(one).length ? null : "unserved" }, input, el("span", {}, operationName(one.name)));
  }));
  return showOperation();
}

const current = () => state.operations.find((one) => one.name === document.querySelector("input[name=operation]:checked")?.value);
const serving = (operation) => operation.served_by.filter((one) => one.routed);
const chosenModel = () => serving(current())[$("model").selectedIndex];

function showOperation() {
  const operation = current();
  const models = serving(operation);
  $("summary").textContent = operation.summary;
  $("model").replaceChildren(...models.map((one) => el("option", { value: one.model, selected: one.default }, one.title)));
  $("model-field").hidden = !models.length;
  form.show(operation, chosenModel());
  showLicence();
}

function showLicence() {
  const model = current() && chosenModel();
  if (model) {
    const { licence, endpoint, kind } = model;
    const free = { true: "commercial use allowed", false: "not for commercial use", null: "commercial use not confirmed" }[String(licence.commercial)];
    $("licence").replaceChildren(`Served by ${endpoint}${endpoint === kind ? "" : ` (${kind})`} · ${licence.name} · `, el("span", { class: licence.commercial === false ? "warning" : null, title: licence.note }, free));
  }
  refreshButton();
}

function reason() {
  const operation = current();
  if (!operation) return "Loading…";
  const models = serving(operation);
  if (!models.length) {
    const others = [...new Set(operation.served_by.map((one) => one.kind))].join(" or ");
    return `${words(state.health?.provider || "This server")} cannot do this${others ? `; ${others} can` : ""}.`;
  }
  const model = chosenModel();
  if (model && !model.can) return model.problems.join("; ");
  return state.sending ? "Sending…" : form.missing();
}

function refreshButton() {
  if (!current()) return;
  const why = reason();
  $("generate").disabled = why !== "";
  $("reason").textContent = why;
}

// ---- jobs ----

async function generate(event) {
  event.preventDefault();
  if ($("generate").disabled) return;
  const body = { ...form.body(), previews: true, model: chosenModel()?.default ? null : $("model").value };
  await submit(() => api.post("/v1/jobs", body, { "Idempotency-Key": api.newKey() }));
}

async function submit(send) {
  state.sending = true;
  refreshButton();
  const job = await guarded(send, (error) => { showError(error); form.point(error.field); });
  state.sending = false;
  refreshButton();
  if (job) {
    follow(job);
    await loadGallery();
  }
}

function show(job) {
  state.watching?.abort();
  state.shown = job;
  if (location.hash !== `#${job.id}`) history.replaceState(null, "", `#${job.id}`);
  markShown();
  showJob(job, {
    onAgain: () => submit(() => api.post(`/v1/jobs/${job.id}/rerun`, { new_seed: false })),
    onNewSeed: () => submit(() => api.post(`/v1/jobs/${job.id}/rerun`, { new_seed: true })),
    onDelete: () => guarded(async () => { await api.remove(`/v1/jobs/${job.id}`); history.replaceState(null, "", "/"); showEmpty(); await loadGallery(); }),
    onUse: (asset, name) => useAsInput(asset, name),
    uses: (asset) => state.operations.filter((one) => one.inputs.some((role) => asset.media_type.startsWith(role.kind))).map((one) => one.name),
  });
}

async function follow(job) {
  if (["succeeded", "failed", "canceled", "expired"].includes(job.state)) return show(job);
  state.watching?.abort();
  const watching = (state.watching = new AbortController());
  state.shown = job;
  history.replaceState(null, "", `#${job.id}`);
  const view = showRunning(job, { onCancel: () => guarded(() => api.post(`/v1/jobs/${job.id}/cancel`)) });
  await guarded(async () => {
    for await (const event of api.events(job.id, { signal: watching.signal, lost: (is) => { view.lost(is); banner(is); } })) view.update(event);
    if (!watching.signal.aborted) show(await api.get(`/v1/jobs/${job.id}`));
  });
  view.stop();
  return loadGallery();
}

function useAsInput(asset, name) {
  $(`o-${name}`).checked = true;
  showOperation();
  const role = current().inputs.find((one) => asset.media_type.startsWith(one.kind));
  form.inputs.get(role.role).use(asset);
  $("form").scrollIntoView({ behavior: "smooth", block: "start" });
  (document.querySelector("#p-prompt") || $("generate")).focus({ preventScroll: true });
}

// ---- the gallery ----

async function loadGallery(more = false) {
  const query = new URLSearchParams({ limit: String(PAGE) });
  if ($("search").value.trim()) query.set("search", $("search").value.trim());
  if (more && state.next) query.set("before", state.next);
  const told = await guarded(() => api.get(`/v1/jobs?${query}`), () => banner(true));
  if (!told) return;
  const tiles = told.jobs.map(tile);
  if (more) $("gallery").append(...tiles);
  else $("gallery").replaceChildren(...(tiles.length ? tiles : [el("li", { class: "none" }, "No jobs yet.")]));
  state.next = told.next;
  $("more").hidden = !told.next;
  markShown();
}

function tile(job) {
  const prompt = job.steps.at(-1).parameters.prompt || operationName(job.operation);
  const shown = job.outputs[0] ? picture(job.outputs[0]) : el("span", { class: `glyph ${job.state}` }, words(job.state));
  const count = job.outputs.length > 1 ? el("span", { class: "count" }, `${job.outputs.length}`) : null;
  const button = el("button", { type: "button", title: prompt, "aria-label": `${words(job.state)}: ${prompt}`, onclick: () => open(job.id) }, shown, count);
  return el("li", { "data-job": job.id }, button, el("span", { class: "caption" }, prompt));
}

function markShown() {
  for (const one of $("gallery").children) one.classList.toggle("shown", one.dataset.job === state.shown?.id);
}

async function open(id) {
  const job = await guarded(() => api.get(`/v1/jobs/${id}`));
  if (!job) return;
  follow(job);
  $("stage").scrollIntoView({ behavior: "smooth", block: "nearest" });
}

// ---- the server ----

function banner(lost) {
  const health = state.health;
  const text = lost ? "The genyard server does not answer. Jobs that were accepted are safe; this page tries again by itself."
    : health && !health.database ? "The database does not answer."
    : health && !health.worker ? "No worker is running, so jobs wait: start one with `genyard worker`." : "";
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

async function checkHealth() {
  try {
    const response = await fetch("/health");
    state.health = await response.json();
    $("where").replaceChildren(el("span", { class: `dot ${state.health.status}` }), state.health.provider, el("small", {}, `v${state.health.version}`));
    banner(false);
    const places = JSON.stringify(state.health.endpoints.map((one) => one.reachable));
    if (current() && (stuck() || state.places !== places)) await guarded(loadOperations);
    state.places = places;
  } catch {
    state.health = { ...state.health, lost: true };
    banner(true);
  }
  setTimeout(checkHealth, state.health.lost || stuck() ? 3000 : 15000);
}

/** As far as this page knows, what is chosen cannot be done: its place may only have been slow to say that it is there. */
const stuck = () => !current() || !chosenModel()?.can;

function askForKey() {
  $("key-button").hidden = false;
  $("key").value = api.key();
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

async function start() {
  if (api.key()) $("key-button").hidden = false;
  await guarded(loadOperations);
  await loadGallery();
  const id = location.hash.slice(1);
  if (id) await open(id);
  else showEmpty();
}

$("form").addEventListener("submit", generate);
$("form").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit(); });
$("model").addEventListener("change", () => { form.show(current(), chosenModel()); showLicence(); });
$("more").addEventListener("click", () => loadGallery(true));
$("search").addEventListener("input", () => { clearTimeout(state.searching); state.searching = setTimeout(() => loadGallery(), 250); });
$("key-button").addEventListener("click", askForKey);
$("key-cancel").addEventListener("click", () => $("key-dialog").close());
$("key-form").addEventListener("submit", () => { api.useKey($("key").value.trim()); start(); });

showEmpty();
checkHealth();
start();
