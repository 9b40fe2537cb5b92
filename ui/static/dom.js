// Small tools of the page: elements from plain values, texts, times. Every text becomes a text node: nothing here parses HTML.

const configElement = document.getElementById("earmark-config");
export const config = configElement ? JSON.parse(configElement.textContent) : { texts: {}, brand: {} };

// making a formatter takes longer than painting a moment: one each, for the whole visit
const NUMBER = new Intl.NumberFormat();
const DAYS = [{}, { month: "short" }, { month: "short", day: "numeric" }].map((parts) => new Intl.DateTimeFormat(undefined, { timeZone: "UTC", year: "numeric", ...parts }));

/** Return a text by key with its {names} filled in. */
export function say(key, values = {}) {
  const text = config.texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Return "one"/"many" text for a count: keys `key.one` and `key.many`. */
export function count(key, number) {
  return say(`${key}.${number === 1 ? "one" : "many"}`, { n: NUMBER.format(number) });
}

/** Make an element. `props`: on* listeners, class, dataset, aria-*, other attributes; null or false leaves one out. */
export function h(tag, props = {}, ...children) {
  const [name, space] = tag.startsWith("svg:") ? [tag.slice(4), "http://www.w3.org/2000/svg"] : [tag, null];
  const element = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const ICONS = {
  play: "M8 5.5v13l11-6.5z",
  pause: "M7 5h3.6v14H7zM13.4 5H17v14h-3.6z",
  back: "M12 5V1.8L7 6l5 4.2V7a5.5 5.5 0 1 1-5.5 5.5h-2A7.5 7.5 0 1 0 12 5z",
  ahead: "M12 5V1.8L17 6l-5 4.2V7a5.5 5.5 0 1 0 5.5 5.5h2A7.5 7.5 0 1 1 12 5z",
  link: "M10.6 13.4a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1.2 1.2 1.4 1.4 1.2-1.2a2 2 0 0 1 2.9 2.9l-3 3a2 2 0 0 1-2.9 0zM13.4 10.6a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1.2-1.2-1.4-1.4-1.2 1.2A2 2 0 0 1 6.1 15l3-3a2 2 0 0 1 2.9 0z",
  quote: "M5 17h4l2-4V7H5v6h3zm9 0h4l2-4V7h-6v6h3z",
  like: "M5 7h9v2H5zm0 4h9v2H5zm0 4h6v2H5zm13-4v3h3v2h-3v3h-2v-3h-3v-2h3v-3z",
  close: "M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6 10.6 12 5 6.4z",
  search: "M10.5 4a6.5 6.5 0 1 0 4 11.6l4.2 4.3 1.4-1.4-4.3-4.2A6.5 6.5 0 0 0 10.5 4zm0 2a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9z",
  theme: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 2v14a7 7 0 0 1 0-14z",
};

/** Return an icon that screen readers skip. */
export function icon(name) {
  return h("svg:svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" }, h("svg:path", { d: ICONS[name], fill: "currentColor" }));
}

/** Return 1:02:03 or 2:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Return a day as the reader's language writes it, "" where it is unknown. */
export function day(iso) {
  const match = /^(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?/.exec(iso || "");
  if (!match) return "";
  return DAYS[match[3] ? 2 : match[2] ? 1 : 0].format(new Date(Date.UTC(+match[1], +(match[2] ?? 1) - 1, +(match[3] ?? 1))));
}

/** Return "17 min" or "2 h 5 min". */
export function length(seconds) {
  const minutes = Math.round((seconds || 0) / 60);
  if (minutes < 1) return say("length.seconds", { n: Math.round(seconds || 0) });
  if (minutes < 60) return say("length.minutes", { n: minutes });
  const hours = Math.floor(minutes / 60);
  return hours >= 10 || minutes % 60 === 0
    ? say("length.hours", { n: NUMBER.format(Math.round(minutes / 60)) })
    : say("length.both", { h: hours, m: minutes % 60 });
}

/** Return `url` if it is http(s) or a path of this site, else null: `javascript:` and the like are never followed. */
export function safe(url) {
  if (!url) return null;
  try {
    const parsed = new URL(url, location.href);
    return ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

/** Cut `text` at `ranges` ([start, end]) and put <mark> around them, within [from, to). */
export function marked(text, ranges, from = 0, to = text.length) {
  const pieces = [];
  let at = from;
  for (const [start, end] of ranges) {
    if (end <= at || start >= to) continue;
    if (start > at) pieces.push(text.slice(at, start));
    pieces.push(h("mark", {}, text.slice(Math.max(start, at), Math.min(end, to))));
    at = Math.min(end, to);
  }
  if (at < to) pieces.push(text.slice(at, to));
  return pieces;
}

/** Paint a strip of heat values (0 to 1) as the background of an element. */
export function paintHeat(element, values) {
  const stops = values.map((value, index) => {
    const strength = Math.round(6 + 94 * value ** 1.5);
    const [left, right] = [(index / values.length) * 100, ((index + 1) / values.length) * 100];
    return `color-mix(in oklab, var(--accent) ${value ? strength : 0}%, var(--rule)) ${left}% ${right}%`;
  });
  element.style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
}

/** Remember a value between visits; a foreign frame may refuse. */
export const memory = {
  get(key) {
    try { return localStorage.getItem(`earmark.${key}`); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(`earmark.${key}`, value); } catch { /* private mode, foreign frame: it is forgotten */ }
  },
};

/** Put text on the clipboard; true where the browser let us. */
export async function copy(text, place = document.body) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { readonly: true, class: "off-screen" });
    area.value = text;
    place.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
