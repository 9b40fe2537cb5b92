// The page before anything is asked: what is here, how much of it, questions to try. And the honest one when nothing fits.

import { getJson } from "./asking.js";
import { config, count, day, h, length, say } from "./dom.js";
import { facts } from "./results.js";
import { filters } from "./address.js";

const SHOWS_SHOWN = 6;
const NEWEST_SHOWN = 6;
const POLL_MS = 2000;

/** Return the welcome page. `acts`: ask(question), showOnly(id), open(event, page_url). */
export function welcome(stats, acts) {
  if (!stats.episodes) return emptyCatalogue();
  const newest = h("ul", { class: "newest" });
  getJson(`/api/episodes?limit=${NEWEST_SHOWN}`).then(({ episodes }) => {
    newest.append(...episodes.map((episode) => h("li", {},
      h("img", { class: "cover", src: episode.picture_url, alt: "", width: 48, height: 48, loading: "lazy" }),
      h("div", {},
        h("a", { href: episode.page_url, onclick: (event) => acts.open(event, episode.page_url) }, h("bdi", {}, episode.title)),
        h("p", { class: "facts" }, facts([episode.show, day(episode.published), length(episode.duration_s)]))))));
  }).catch(() => newest.remove());
  return h("div", { class: "welcome" },
    h("p", { class: "sum" }, facts([stats.duration_s < 3600 ? length(stats.duration_s) : count("sum.hours", Math.round(stats.duration_s / 3600)), count("sum.talks", stats.episodes), count("sum.shows", stats.shows.length)]),
      " ", h("a", { href: "/explore", onclick: (event) => acts.open(event, "/explore") }, say("welcome.explore"))),
    stats.questions.length > 0 && h("section", { class: "asked" },
      h("h2", {}, say("welcome.questions")),
      h("ul", {}, stats.questions.map((question) => h("li", {}, h("button", { type: "button", dir: "auto", onclick: () => acts.ask(question) }, question))))),
    h("div", { class: "halves" },
      h("section", {}, h("h2", {}, say("welcome.shows")),
        h("ul", { class: "newest" }, [...stats.shows].sort((a, b) => b.duration_s - a.duration_s).slice(0, SHOWS_SHOWN).map((show) => h("li", {},
          h("img", { class: "cover", src: `/picture/${show.id}`, alt: "", width: 48, height: 48, loading: "lazy" }),
          h("div", {},
            h("button", { type: "button", class: "linklike", onclick: () => acts.showOnly(show.id) }, h("bdi", {}, show.title)),
            h("p", { class: "facts" }, facts([count("sum.talks", show.episodes), length(show.duration_s)])))))),
        stats.shows.length > SHOWS_SHOWN && h("p", { class: "all" }, h("a", { href: "/explore", onclick: (event) => acts.open(event, "/explore") }, say("welcome.all_shows", { n: stats.shows.length })))),
      h("section", {}, h("h2", {}, say("welcome.newest")), newest)));
}

/** Return what is said when a search finds nothing, with ways out of it. */
export function nothing(state, acts) {
  const ways = [];
  if (filters(state)) ways.push(h("button", { type: "button", class: "quiet", onclick: acts.clearFilters }, say("nothing.clear")));
  if (state.q.includes('"')) ways.push(h("button", { type: "button", class: "quiet", onclick: () => acts.ask(state.q.replaceAll('"', "")) }, say("nothing.unquote")));
  return h("div", { class: "nothing" }, h("h2", {}, say("nothing.title", { q: state.q.replaceAll('"', "").trim() })), h("p", {}, say("nothing.hint")), ways);
}

function emptyCatalogue() {
  const samples = h("div", {}, h("pre", {}, h("code", {}, say("empty.command"))));
  offerSamples(samples).catch(() => {}); // the command stays
  return h("div", { class: "welcome empty" },
    h("h2", {}, say("empty.title")), h("p", {}, say("empty.text")), samples,
    h("p", {}, config.admin === false ? null : h("a", { href: "/admin/" }, say("empty.admin"))));
}

/** Where a worker runs beside the app, a button loads the samples; the page comes back when the first can be searched. */
async function offerSamples(place) {
  const { offered, under_way: underWay } = await getJson("/api/samples");
  const wait = async () => {
    place.replaceChildren(h("p", { role: "status" }, say("empty.working")));
    for (;;) {
      await new Promise((done) => setTimeout(done, POLL_MS));
      if ((await getJson("/healthz")).passages > 0) return location.reload();
    }
  };
  if (underWay) return wait();
  if (!offered) return;
  place.replaceChildren(h("button", { type: "button", class: "quiet", onclick: async () => {
    const response = await fetch("/api/samples", { method: "POST" });
    if (response.ok) await wait();
  } }, say("empty.load")));
}
