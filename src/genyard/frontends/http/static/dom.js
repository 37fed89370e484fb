// Small helpers: elements from plain values, never from markup.

export const $ = (id) => document.getElementById(id);

/** el("button", {class: "quiet", onclick: f}, "Text", child) */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

export function bytes(size) {
  if (size < 1024) return `${size} B`;
  return size < 1048576 ? `${(size / 1024).toFixed(0)} kB` : `${(size / 1048576).toFixed(1)} MB`;
}

export const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

const NAMES = { loras: "LoRAs", controlnets: "ControlNets" };

export function words(name) {
  if (NAMES[name]) return NAMES[name];
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The same server, under the name by which this page was opened. */
export function local(url) {
  const { pathname, search } = new URL(url, location.href);
  return pathname + search;
}

/** A small picture of an asset. */
export function picture(asset) {
  const src = local(asset.url);
  if (asset.media_type.startsWith("video/")) return el("video", { src: `${src}#t=0.1`, muted: true, preload: "metadata", playsinline: true });
  if (asset.media_type.startsWith("image/")) return el("img", { src, alt: "", loading: "lazy", decoding: "async" });
  return el("span", { class: "glyph" }, asset.media_type);
}
