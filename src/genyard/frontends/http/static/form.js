// The form of an operation, made from its JSON Schema and input roles.

import { upload } from "./api.js";
import { $, bytes, el, picture, words } from "./dom.js";

const NAMES = {
  txt2img: "Text to image", img2img: "Redraw", remove_background: "Cut out", decompose_layers: "Layers",
  animate_photo: "Animate", pixelate: "Pixel art", run_workflow: "Workflow",
};
const PROMPTS = {
  txt2img: "A red dragon guarding a treasure, game sprite", img2img: "An iron shield with a lion on it",
};
const ADVANCED = new Set([
  "negative_prompt", "width", "height", "steps", "guidance", "sampler", "scheduler", "loras", "controlnets", "values", "media",
]);

export const operationName = (name) => NAMES[name] || words(name);

/** `changed()` is called whenever what would be sent differs. */
export class OperationForm {
  constructor(changed) {
    this.changed = changed;
    this.kept = {};
  }

  /** What was typed or dropped before stays where the new form has a place for it. */
  show(operation, serving) {
    if (this.operation) this.body();
    const before = this.inputs || new Map();
    this.operation = operation;
    this.serving = serving;
    this.fields = new Map();
    this.inputs = new Map();
    const schema = operation.parameters;
    const names = Object.keys(schema.properties || {});
    const main = el("div"), advanced = el("div");
    if (names.includes("prompt")) main.append(this.field("prompt", schema));
    for (const role of operation.inputs) (role.required ? main : advanced).append(this.drop(role, before.get(role.role)));
    const short = el("div", { class: "pairs" }), shortAdvanced = el("div", { class: "pairs" });
    for (const name of names.filter((one) => one !== "prompt")) {
      const made = this.field(name, schema);
      const wide = made.classList.contains("wide");
      if (ADVANCED.has(name)) (wide ? advanced : shortAdvanced).append(made);
      else (wide ? main : short).append(made);
    }
    main.append(short);
    advanced.append(shortAdvanced);
    $("fields").replaceChildren(main);
    $("advanced-fields").replaceChildren(advanced);
    $("advanced").hidden = !advanced.querySelector("input, select, textarea, button");
  }

  field(name, schema) {
    const given = schema.properties[name];
    const kinds = (given.anyOf || [given]).filter((one) => one.type !== "null");
    const kind = { ...given, ...resolve(kinds[0], schema) };
    const optional = kinds.length < (given.anyOf || [given]).length;
    const id = `p-${name}`;
    const input = this.control(name, kind, optional, schema);
    input.id = id;
    input.addEventListener("input", this.changed);
    if (this.kept[name] !== undefined && input.type !== "checkbox") input.value = this.kept[name];
    this.fields.set(name, { input, kind, required: (schema.required || []).includes(name) });
    const wide = input.tagName === "TEXTAREA";
    const hint = given.description && name !== "prompt" ? el("p", { class: "hint", id: `${id}-hint` }, given.description) : null;
    if (hint) input.setAttribute("aria-describedby", hint.id);
    return el("div", { class: wide ? "field wide" : "field" }, el("label", { for: id }, words(name)), input, hint);
  }

  control(name, kind, optional, schema) {
    const byModel = this.serving?.defaults?.[name];
    const value = kind.default ?? "";
    if (kind.enum) {
      const empty = optional ? [el("option", { value: "" }, "Default")] : [];
      const select = el("select", {}, empty, kind.enum.map((one) => el("option", { value: String(one) }, String(one))));
      select.value = value;
      return select;
    }
    if (kind.type === "integer" || kind.type === "number") {
      const [min, max] = [kind.minimum ?? kind.exclusiveMinimum, Math.min(kind.maximum ?? Infinity, Number.MAX_SAFE_INTEGER)];
      const hint = byModel ?? (name === "seed" ? "random" : optional ? "default" : "");
      const step = kind.type === "integer" ? "1" : "any";
      return el("input", { type: "number", min: min === undefined ? null : String(min), max: String(max), step, value: String(value), placeholder: String(hint), inputmode: "decimal" });
    }
    if (kind.type === "boolean") return el("input", { type: "checkbox", checked: Boolean(value) });
    if (kind.type === "object" || kind.type === "array") {
      const item = kind.items && resolve(kind.items, schema).properties;
      return el("textarea", { rows: item ? "2" : "5", class: "code", placeholder: item ? JSON.stringify([example(item)]) : "{ … }", spellcheck: "false" });
    }
    if ((kind.maxLength || 0) >= 1000) {
      const textarea = el("textarea", { rows: name === "prompt" ? "4" : "2", maxlength: String(kind.maxLength), placeholder: name === "prompt" ? PROMPTS[this.operation.name] || "" : "" });
      textarea.value = value;
      return textarea;
    }
    return el("input", { type: "text", value: String(value), placeholder: String(byModel ?? "") });
  }

  drop(role, before) {
    const id = `i-${role.role}`;
    const accept = { image: "image/png,image/jpeg,image/webp,image/gif", video: "video/mp4,video/webm", audio: "audio/*" }[role.kind];
    const file = el("input", { type: "file", id, accept, multiple: role.max_count > 1 });
    const shown = el("span", { class: "drop-body" });
    const zone = el("label", { class: "drop", for: id }, shown);
    const state = { role, assets: before?.role.kind === role.kind ? before.assets : [], busy: 0, problem: "" };
    this.inputs.set(role.role, state);
    const draw = () => {
      const pictures = state.assets.map((one) => el("span", { class: "picked" }, picture(one), el("span", {}, `${one.width ?? "?"} × ${one.height ?? "?"} · ${bytes(one.bytes)}`)));
      const invite = state.busy ? "Sending…" : state.assets.length ? "Replace" : `Drop ${role.kind === "image" ? "an image" : `a ${role.kind}`} here, or choose a file`;
      shown.replaceChildren(...pictures, el("span", { class: "invite" }, invite), state.problem ? el("span", { class: "problem", role: "alert" }, state.problem) : "");
      this.changed();
    };
    const take = async (files) => {
      Object.assign(state, { busy: state.busy + 1, problem: "" });
      draw();
      try {
        state.assets = await Promise.all([...files].slice(0, role.max_count).map(upload));
      } catch (error) {
        state.problem = error.message;
      }
      state.busy -= 1;
      file.value = "";
      draw();
    };
    state.use = (asset) => { Object.assign(state, { assets: [asset], problem: "" }); draw(); };
    file.addEventListener("change", () => file.files.length && take(file.files));
    for (const name of ["dragover", "dragleave", "drop"]) {
      zone.addEventListener(name, (event) => {
        event.preventDefault();
        zone.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files);
      });
    }
    draw();
    return el("div", { class: "field wide" }, el("span", { class: "label" }, words(role.role), role.required ? null : el("small", {}, "optional")), el("div", { class: "zone" }, file, zone), el("p", { class: "hint" }, role.summary));
  }

  /** Why it cannot be sent as it is; empty when it can. */
  missing() {
    for (const state of this.inputs.values()) {
      if (state.busy) return "The file is still being sent.";
      if (state.role.required && !state.assets.length) return `Add ${state.role.kind === "image" ? "an image" : `a ${state.role.kind}`} first.`;
    }
    for (const [name, { input, required }] of this.fields) {
      if (input && required && !input.value.trim()) return name === "prompt" ? "Say in the prompt what to make." : `${words(name)} is required.`;
      if (input && !input.validity.valid) return `${words(name)}: ${input.validationMessage}`;
    }
    return "";
  }

  body() {
    const parameters = {};
    for (const [name, { input, kind }] of this.fields) {
      const value = read(input, kind);
      if (value !== undefined) parameters[name] = value;
      if (input.type !== "checkbox") this.kept[name] = input.value;
    }
    const inputs = {};
    for (const [role, { assets }] of this.inputs) if (assets.length) inputs[role] = assets.map((one) => one.id);
    return { operation: this.operation.name, parameters, inputs };
  }

  /** Puts the caret where an error says that something is wrong. */
  point(field) {
    const name = (field || "").split(".").pop();
    const input = this.fields.get(name)?.input || $(`i-${name}`);
    if (!input) return;
    input.closest("details")?.setAttribute("open", "");
    input.setAttribute("aria-invalid", "true");
    input.addEventListener("input", () => input.removeAttribute("aria-invalid"), { once: true });
    input.focus();
  }
}

const resolve = (kind, schema) => (kind.$ref ? schema.$defs[kind.$ref.split("/").pop()] : kind);

/** What an item of a list may look like. */
const example = (properties) => Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, one.default ?? one.enum?.[0] ?? "…"]));

function read(input, kind) {
  if (input.type === "checkbox") return input.checked;
  const text = input.value.trim();
  if (text === "") return undefined;
  if (kind.type === "integer" || kind.type === "number") return Number(text);
  if (kind.type === "object" || kind.type === "array") try { return JSON.parse(text); } catch { return text; }
  return kind.enum ? kind.enum.find((one) => String(one) === text) : input.value;
}
