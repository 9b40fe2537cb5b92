// The row of filters above the results. Comes in: what the catalogue holds. Goes out: changes of the state.

import { h, say } from "./dom.js";
import { filters } from "./address.js";

const AGES = [["week", 7], ["month", 31], ["year", 366]];

/** Return the row; `change(part)` is called with the parts of the state that change. */
export function filterRow(stats, state, change) {
  const select = (key, label, options, value, act) => {
    const element = h("select", { "aria-label": label, class: value ? "set" : null, name: key, onchange: () => act(element.value) },
      options.map(([id, text]) => h("option", { value: id, selected: id === value }, text)));
    return element;
  };
  const named = (key, rows) => {
    if (rows.length < 2 && state[key].length === 0) return null;
    const known = rows.some(([id]) => id === state[key][0]) ? rows : [...state[key].map((id) => [id, id]), ...rows];
    return select(key, say(`filter.${key}`), [["", say(`filter.${key}_any`)], ...known], state[key][0] ?? "", (id) => change({ [key]: id ? [id] : [] }));
  };
  const years = yearsOf(stats);
  const ages = [["", say("filter.date_any")], ...AGES.map(([key, days]) => [daysAgo(days), say(`filter.date_${key}`)]), ...years.map((year) => [`y${year}`, year])];
  const shownAge = state.until.length === 4 && state.since === state.until ? `y${state.since}` : state.since;
  if (shownAge && !ages.some(([id]) => id === shownAge)) ages.push([shownAge, [state.since, state.until].filter(Boolean).join(" – ")]);
  return h("div", { class: "filters", role: "group", "aria-label": say("filter.name") },
    named("show", stats.shows.map((show) => [show.id, show.title])),
    named("speaker", stats.speakers.map((speaker) => [speaker.name, speaker.name])),
    named("language", stats.languages.map((language) => [language.name, languageName(language.name)])),
    stats.first_day && select("date", say("filter.date"), ages, shownAge, (id) =>
      change(id.startsWith("y") ? { since: id.slice(1), until: id.slice(1) } : { since: id, until: "" })),
    select("sort", say("filter.sort"), [["", say("filter.sort_best")], ["recent", say("filter.sort_recent")], ["newest", say("filter.sort_newest")]], state.sort === "best" ? "" : state.sort, (id) => change({ sort: id })),
    filters(state) > 0 && h("button", { type: "button", class: "quiet", onclick: () => change({ show: [], speaker: [], language: [], since: "", until: "" }) }, say("filter.clear")));
}

/** Return a language's name in the reader's language. */
export function languageName(code) {
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

function yearsOf(stats) {
  const [first, last] = [+(stats.first_day ?? "").slice(0, 4), +(stats.last_day ?? "").slice(0, 4)];
  return first && last && last - first < 40 ? Array.from({ length: last - first + 1 }, (_, n) => String(last - n)) : [];
}

function daysAgo(days) {
  return new Date(Date.now() - days * 86400_000).toISOString().slice(0, 10);
}
