// The search inside a foreign page: a box, moments, the player. Links open our own page in a new tab; the frame tells its height.

import { Asking } from "./asking.js";
import { config, copy, h, safe, say } from "./dom.js";
import { Player } from "./player.js";
import { resultList } from "./results.js";

const MOMENTS = 8;
const main = document.getElementById("embed");
const here = new URLSearchParams(location.search);
const asking = new Asking();
const player = new Player();
const results = h("div", { class: "results", "aria-live": "polite" });
const box = main.querySelector("input");
const fixed = new URLSearchParams([...here].filter(([key]) => ["show", "speaker", "language"].includes(key)));

document.documentElement.style.colorScheme = main.dataset.theme || "light dark";
if (config.brand.accent) document.documentElement.style.setProperty("--brand", config.brand.accent);
main.append(results, h("p", { class: "soft by" }, h("a", { href: "/", target: "_blank", rel: "noopener" }, say("embed.by", { name: config.brand.name }))), player.element);

const acts = {
  play: (moment, episode) => player.open({ id: moment.episode_id, url: moment.play_url, kind: episode.media_kind ?? "audio", title: moment.title, show: moment.show, page: moment.page_url, duration: episode.duration_s ?? 0 }, moment.start_s),
  open: () => {},
  copyLink: async (moment, button) => {
    button.dataset.told = say((await copy(new URL(moment.page_url, location.href).href)) ? "results.copied" : "results.not_copied");
    setTimeout(() => delete button.dataset.told, 1600);
  },
};

async function ask() {
  const query = new URLSearchParams(fixed);
  query.set("q", box.value);
  if (!box.value.trim()) {
    asking.stop();
    results.replaceChildren();
    return;
  }
  try {
    const answer = await asking.get(`/api/search?${query}&limit=${MOMENTS}`);
    if (!answer) return;
    const groups = resultList(answer, acts, { compact: true });
    results.replaceChildren(...(groups.length ? groups : [h("p", { class: "nothing" }, say("nothing.title", { q: box.value }))]),
      groups.length ? h("p", {}, h("a", { href: safe(`/?${query}`), target: "_blank", rel: "noopener" }, say("embed.more"))) : "");
  } catch (error) {
    results.replaceChildren(h("p", { class: "nothing", role: "alert" }, error.message));
  }
}

box.addEventListener("input", ask);
main.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
player.titleLink.target = "_blank";
new ResizeObserver(() => parent.postMessage({ earmark: "height", height: Math.ceil(main.getBoundingClientRect().height + 4) }, "*")).observe(main);
if (box.value) ask();
