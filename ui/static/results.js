// Moments on the page. Comes in: a search answer. Goes out: elements; presses are told through `acts`.
// Does not know: where an answer comes from, what plays a moment. The embed uses it too.

import { clock, count, day, h, icon, length, marked, safe, say } from "./dom.js";

const SHOWN_CHARACTERS = matchMedia("(max-width: 46rem)").matches ? 260 : 420; // of a moment's text, around its best sentence
const MOMENTS_FIRST = 3; // of one episode; the rest behind a button
const COVERS_KEPT = 200;
const covers = new Map();

/** Return the groups of an answer: [{episode, moments: [{...moment, ranges, best}]}], by each episode's best. */
export function grouped(answer) {
  const groups = new Map();
  answer.moments.forEach((moment, index) => {
    const entry = { ...moment, ranges: answer.highlights[index] ?? [], best: answer.best[index] ?? [0, moment.text.length] };
    if (!groups.has(moment.episode_id)) groups.set(moment.episode_id, { episode: answer.episodes[moment.episode_id] ?? {}, moments: [] });
    groups.get(moment.episode_id).moments.push(entry);
  });
  return [...groups.values()];
}

/** Return the elements of an answer. `acts`: play(moment, episode), open(event, moment), copyLink(moment, button), copyQuote, like. */
export function resultList(answer, acts, { compact = false } = {}) {
  return grouped(answer).map((group) => groupElement(group, acts, compact));
}

function groupElement({ episode, moments }, acts, compact) {
  const first = moments[0];
  const rest = moments.slice(MOMENTS_FIRST);
  const list = h("ol", { class: "moments" }, moments.slice(0, MOMENTS_FIRST).map((moment) => momentElement(moment, episode, acts, compact)));
  const more = rest.length > 0 && h("button", {
    type: "button", class: "quiet more-here",
    onclick: () => {
      list.append(...rest.map((moment) => momentElement(moment, episode, acts, compact)));
      more.remove();
    },
  }, count("results.more_here", rest.length));
  const link = { href: first.page_url, onclick: (event) => acts.open(event, first) };
  if (compact) link.target = "_blank";
  return h("article", { class: "group", dataset: { episode: first.episode_id } },
    h("header", {},
      !compact && cover(first.episode_id),
      h("div", { class: "names" },
        h("h2", {}, h("a", link, first.title)),
        h("p", { class: "facts" }, facts([first.show, day(first.published), episode.duration_s ? length(episode.duration_s) : ""])))),
    strip(moments, episode, acts),
    list, more);
}

/** Return an episode's picture: while one types, the same element moves from answer to answer and is not decoded again. */
function cover(id) {
  if (!covers.has(id)) covers.set(id, h("img", { class: "cover", src: `/picture/${id}`, alt: "", width: 56, height: 56, loading: "lazy", decoding: "async" }));
  if (covers.size > COVERS_KEPT) covers.delete(covers.keys().next().value);
  return covers.get(id);
}

function strip(moments, episode, acts) {
  if (!episode.duration_s) return null;
  const where = moments.map((moment) => clock(moment.start_s)).join(", ");
  const element = h("div", { class: "heat", role: "img", "aria-label": say("results.strip", { times: where }), dataset: { heat: moments[0].episode_id } });
  for (const moment of moments) {
    const tick = h("span", { class: "tick" });
    tick.style.left = `${Math.min(100, (moment.start_s / episode.duration_s) * 100)}%`;
    element.append(tick);
  }
  element.addEventListener("click", (event) => {
    const box = element.getBoundingClientRect();
    acts.play({ ...moments[0], start_s: ((event.clientX - box.left) / box.width) * episode.duration_s }, episode);
  });
  return element;
}

function momentElement(moment, episode, acts, compact) {
  const playable = Boolean(safe(moment.play_url));
  const time = clock(moment.start_s);
  const play = h("button", {
    type: "button", class: "play", disabled: !playable, title: playable ? say("results.play", { time }) : say("player.none"),
    "aria-label": say("results.play_in", { time, title: moment.title }), onclick: () => acts.play(moment, episode),
  }, icon("play"), h("span", {}, time));
  const tool = (name, label, act) => h("button", { type: "button", class: "tool", title: label, "aria-label": label, onclick: act }, icon(name));
  const tools = h("span", { class: "tools" },
    tool("link", say("results.copy_link"), (event) => acts.copyLink(moment, event.currentTarget)),
    !compact && tool("quote", say("results.copy_quote"), (event) => acts.copyQuote(moment, event.currentTarget)),
    !compact && tool("like", say("results.like"), () => acts.like(moment)));
  return h("li", { class: "moment", tabindex: -1, dataset: { episode: moment.episode_id, start: moment.start_s } },
    play,
    h("div", { class: "said" },
      moment.speaker && h("p", { class: "speaker", dir: "auto" }, moment.speaker),
      h("p", { class: "text", dir: "auto" }, quoted(moment))),
    tools);
}

/** Return the part of a moment's text that shows, with its best sentence set apart and the matching words marked. */
function quoted(moment) {
  const { text, ranges, best: [start, end] } = moment;
  let from = 0;
  if (end > SHOWN_CHARACTERS) from = sentenceStart(text, Math.max(0, start - 90), start);
  let to = text.length;
  if (to - from > SHOWN_CHARACTERS) {
    to = Math.max(end, from + SHOWN_CHARACTERS);
    const space = text.indexOf(" ", to);
    to = space < 0 ? text.length : space;
  }
  return [
    from > 0 ? "… " : null,
    ...marked(text, ranges, from, start),
    h("span", { class: ranges.length ? "best" : "best meant" }, marked(text, ranges, Math.max(from, start), end)),
    ...marked(text, ranges, end, to),
    to < text.length ? " …" : null,
  ];
}

function sentenceStart(text, from, until) {
  const match = /[.!?…。]\s+/.exec(text.slice(from, until));
  return match ? from + match.index + match[0].length : until;
}

/** Join facts with a middle dot, each isolated so that a right-to-left name does not turn the line around. */
export function facts(values) {
  const shown = values.filter(Boolean);
  return shown.flatMap((value, index) => (index ? [h("span", { class: "dot", "aria-hidden": "true" }, " · "), h("bdi", {}, value)] : [h("bdi", {}, value)]));
}

/** Return the quote of a moment with its link, as people paste it. */
export function quoteText(moment, address) {
  const sentence = moment.text.slice(...moment.best).trim();
  return `“${sentence}”\n— ${[moment.speaker, moment.title, moment.show].filter(Boolean).join(", ")}, ${clock(moment.start_s)}\n${address}`;
}
