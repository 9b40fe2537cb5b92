// <ear-mark>: the one component. It holds the search box, the results, an episode's page and the player bar in a Shadow DOM,
// so that the styles of whatever it sits in (Gradio, a foreign page) stay outside, and the player plays on while one browses.

import * as address from "./address.js";
import { Asking, getJson } from "./asking.js";
import { clock, config, copy, count, h, icon, memory, paintHeat, safe, say } from "./dom.js";
import { filterRow } from "./filters.js";
import { keyHelp, onKeys } from "./keys.js";
import { Player } from "./player.js";
import { quoteText, resultList } from "./results.js";
import { nothing, welcome } from "./welcome.js";

const FIRST_MOMENTS = 10; // more than a screen; the others come when the reader gets there
const ALL_MOMENTS = 100;
const HEAT_WAIT_MS = 350; // the strips are refined once typing rests,
const HEATS_FIRST = 6; // first those that are in sight
const ANNOUNCE_WAIT_MS = 700;

class EarMark extends HTMLElement {
  connectedCallback() {
    if (this.shadowRoot) return;
    this.dataset.live = "";
    const article = this.querySelector("article.episode, article.explore");
    this.root = this.attachShadow({ mode: "open" });
    this.replaceChildren(); // what the server drew for readers without script
    this.state = address.read();
    this.asking = new Asking();
    this.player = new Player();
    this.limit = FIRST_MOMENTS;
    this.scrolledTo = [];
    this.build();
    this.applyBrand();
    if (article && this.state.view !== "search") this.showArticle(article);
    else this.render();
    this.listen();
  }

  build() {
    this.box = h("input", {
      type: "search", id: "q", name: "q", autocomplete: "off", autocapitalize: "off", spellcheck: "false", enterkeyhint: "search", maxlength: 400, dir: "auto",
      placeholder: say("search.placeholder"), "aria-label": say("search.label"), "aria-describedby": "hint", oninput: () => this.typed(),
    });
    this.box.value = this.state.q;
    const form = h("form", { role: "search", onsubmit: (event) => { event.preventDefault(); this.typed({ push: true }); } },
      icon("search"), this.box, h("kbd", { "aria-hidden": "true" }, "/"));
    const brand = config.brand ?? {};
    this.head = h("header", { class: "top" },
      h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); this.main.focus(); } }, say("nav.skip")),
      h("div", { class: "topline" },
        h("a", { class: "brand", href: "/", onclick: (event) => this.go(event, { ...address.read(new URL("/", location.href)) }) },
          brand.logo ? h("img", { src: brand.logo, alt: "", height: 28 }) : h("span", { class: "ear", "aria-hidden": "true" }),
          h("span", {}, brand.name ?? "Earmark")),
        h("nav", {}, h("a", { href: "/explore", onclick: (event) => this.open(event, "/explore") }, say("nav.explore")),
          h("button", { type: "button", class: "tool", title: say("nav.theme"), "aria-label": say("nav.theme"), onclick: () => this.turnTheme() }, icon("theme")))),
      h("h1", { class: "tagline" }, brand.tagline ?? ""),
      form, h("p", { id: "hint", class: "off-screen" }, say("search.hint")));
    this.filterPlace = h("div", { class: "filterplace" });
    this.status = h("p", { class: "status" });
    this.results = h("div", { class: "results" });
    this.page = h("div", { class: "page" });
    this.main = h("main", { id: "main", tabindex: -1 }, this.filterPlace, this.status, this.results, this.page);
    this.live = h("p", { class: "off-screen", role: "status", "aria-live": "polite" });
    this.foot = h("footer", { class: "foot" },
      (brand.links ?? []).map((link) => h("a", { href: safe(link.url) ?? "/", rel: "noopener" }, link.label)), h("a", { href: "/docs" }, say("footer.api")),
      config.embed && h("button", { type: "button", class: "linklike", onclick: async () => (await import("./snippet.js")).embedHelp(this.root, this.state) }, say("embed.offer")), h("span", {}, say("footer.made")));
    this.frame = h("div", { class: "frame" }, this.head, this.main, this.foot);
    this.root.append(h("link", { rel: "stylesheet", href: "/static/earmark.css", onload: () => this.frame.removeAttribute("hidden") }),
      this.frame, this.player.element, this.live);
  }

  applyBrand() {
    if (config.brand?.accent) this.style.setProperty("--brand", config.brand.accent);
    const theme = memory.get("theme");
    if (theme) this.style.colorScheme = theme;
    document.documentElement.style.colorScheme = theme || "light dark";
  }
  turnTheme() {
    const dark = getComputedStyle(this).colorScheme === "dark" || (!memory.get("theme") && matchMedia("(prefers-color-scheme: dark)").matches);
    memory.set("theme", dark ? "light" : "dark");
    this.applyBrand();
  }

  listen() {
    window.addEventListener("scroll", () => { for (const act of this.scrolledTo.splice(0)) act(); }, { passive: true });
    window.addEventListener("pagehide", () => address.settle());
    window.addEventListener("popstate", () => {
      address.forget();
      this.state = address.read();
      this.box.value = this.state.q;
      this.limit = FIRST_MOMENTS;
      this.render();
    });
    onKeys(this, {
      search: () => { this.box.focus(); this.box.select(); },
      next: (step) => this.choose(step),
      open: () => this.chosen()?.querySelector(".play")?.click(),
      toggle: () => this.player.toggle(), skip: (s) => this.player.skip(s), rate: (step) => this.player.nextRate(step),
      hasPlayer: () => this.player.item !== null,
      help: () => keyHelp(this.root),
    });
    this.player.addEventListener("item", () => { this.paintPlaying(); document.documentElement.style.scrollPaddingBottom = this.player.item ? "7rem" : ""; });
    this.player.addEventListener("state", () => this.paintPlaying());
    this.player.titleLink.addEventListener("click", (event) => this.open(event, this.player.titleLink.getAttribute("href")));
  }

  typed({ push = false } = {}) {
    const was = this.state;
    this.state = { ...was, view: "search", episode: null, t: null, q: this.box.value, like: "" };
    this.limit = FIRST_MOMENTS;
    if (push || was.view !== "search" || !was.q) {
      address.settle();
      address.write(this.state, { push: true });
    } else address.writeSoon(this.state);
    this.render();
  }
  change(part) {
    address.settle();
    this.state = { ...this.state, ...part };
    this.limit = FIRST_MOMENTS;
    address.write(this.state, { push: true });
    this.render();
  }
  go(event, state) {
    if (event && (event.metaKey || event.ctrlKey || event.shiftKey || event.button > 0)) return;
    event?.preventDefault();
    address.settle();
    this.state = state;
    this.box.value = state.q;
    address.write(state, { push: true });
    this.render();
    window.scrollTo(0, 0);
    this.main.focus({ preventScroll: true });
  }
  open(event, url) {
    const target = new URL(url, location.href);
    this.go(event, { ...address.read(target), q: target.searchParams.get("q") ?? this.state.q });
  }

  async render() {
    const state = this.state;
    const isPage = state.view !== "search";
    this.frame.dataset.view = isPage ? state.view : address.asks(state) ? "results" : "welcome";
    this.page.hidden = !isPage;
    this.results.hidden = this.filterPlace.hidden = this.status.hidden = isPage;
    clearTimeout(this.heatTimer);
    if (isPage) return this.showPage();
    this.transcript?.close();
    this.transcript = null;
    document.title = state.q ? `${state.q} · ${config.brand?.name ?? "Earmark"}` : config.brand?.name ?? "Earmark";
    try {
      await (address.asks(state) ? this.showResults(state) : this.showWelcome());
    } catch (error) {
      if (this.state !== state) return;
      this.results.replaceChildren(h("div", { class: "nothing", role: "alert" }, h("h2", {}, say("results.failed")), h("p", {}, error.message)));
    }
    this.paintFilters();
  }

  async stats() {
    this.statsAnswer ??= getJson("/api/stats").catch((error) => { this.statsAnswer = null; throw error; });
    return this.statsAnswer;
  }
  async paintFilters() {
    try {
      const stats = await this.stats();
      const { show, speaker, language, since, until, sort } = this.state;
      const shown = JSON.stringify([address.asks(this.state), show, speaker, language, since, until, sort]);
      if (shown === this.filtersShown) return; // not at every key
      this.filtersShown = shown;
      const had = this.root.activeElement?.name;
      this.filterPlace.replaceChildren(address.asks(this.state) || address.filters(this.state) ? filterRow(stats, this.state, (part) => this.change(part)) : "");
      if (had && had !== "q") this.filterPlace.querySelector(`[name="${CSS.escape(had)}"]`)?.focus();
    } catch { /* the answer itself says what is wrong */ }
  }

  async showWelcome() {
    this.asking.stop();
    this.status.replaceChildren();
    const stats = await this.stats();
    if (address.asks(this.state) || this.state.view !== "search") return;
    this.results.replaceChildren(welcome(stats, {
      ask: (question) => { this.box.value = question; this.typed({ push: true }); this.box.focus(); },
      showOnly: (id) => { this.change({ show: [id] }); this.box.focus(); },
      open: (event, url) => this.open(event, url),
    }));
  }

  async showResults(state) {
    const query = address.params(state);
    query.set("limit", this.limit);
    const answer = await this.asking.get(`/api/search?${query}`);
    if (!answer || this.state !== state) return;
    this.reached?.disconnect();
    this.scrolledTo = []; // what waits for the reader to scroll through these moments
    const groups = resultList(answer, this.acts());
    const meant = groups.length > 0 && state.q.trim() !== "" && !state.like && answer.highlights.every((ranges) => ranges.length === 0);
    this.results.replaceChildren(...(groups.length ? groups : [nothing(state, this.acts())]));
    if (answer.moments.length >= this.limit && this.limit < ALL_MOMENTS) this.offerMore(state);
    const sum = groups.length ? `${count("results.count", answer.moments.length)} ${count("results.in", groups.length)}` : "";
    const like = state.like && say("results.like_title", { time: clock(+state.like.split("@")[1]) });
    const back = state.like && state.q && h("button", { type: "button", class: "quiet", onclick: () => this.change({ like: "" }) }, say("results.like_back"));
    this.status.replaceChildren(...[like && h("strong", {}, like, " · "), sum, sum && h("span", { class: "took" }, ` · ${say("results.took", { ms: Math.round(answer.took_ms) })}`),
      back && " · ", back,
      meant && h("span", { class: "meaning" }, say("results.meant")),
      answer.understood && h("span", { class: "degraded" }, say("results.understood", { q: answer.understood })),
      answer.degraded && h("span", { class: "degraded" }, say(`results.degraded_${answer.degraded}`))].filter(Boolean));
    this.paintPlaying();
    this.heatTimer = setTimeout(() => this.refineHeat(state, answer), HEAT_WAIT_MS);
    clearTimeout(this.announceTimer);
    this.announceTimer = setTimeout(() => { this.live.textContent = sum || say("nothing.title", { q: state.q }); }, ANNOUNCE_WAIT_MS);
  }

  /** Put a button under the first moments; reaching it by scrolling presses it. */
  offerMore(state) {
    const more = () => {
      if (this.state !== state || this.limit === ALL_MOMENTS) return;
      this.limit = ALL_MOMENTS;
      this.showResults(state).catch(() => {}); // the first moments stay
    };
    const button = h("button", { type: "button", class: "quiet more", onclick: more }, say("results.more"));
    this.results.append(button);
    this.scrolledTo.push(() => {
      this.reached = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) more(); }, { rootMargin: "300px" });
      this.reached.observe(button);
    });
  }

  async refineHeat(state, answer, from = 0) {
    const all = [...new Set(answer.moments.map((moment) => moment.episode_id))].slice(0, 20);
    const ids = from ? all.slice(from) : all.slice(0, HEATS_FIRST);
    if (!state.q || !ids.length) return;
    if (!from && all.length > HEATS_FIRST) this.scrolledTo.push(() => this.refineHeat(state, answer, HEATS_FIRST));
    const query = new URLSearchParams([["q", state.q], ...ids.map((id) => ["episode", id])]);
    try {
      const { heat } = await getJson(`/api/heat?${query}`);
      if (this.state !== state) return;
      for (const strip of this.results.querySelectorAll("[data-heat]")) if (heat[strip.dataset.heat]) paintHeat(strip, heat[strip.dataset.heat]);
    } catch { /* the ticks are there already */ }
  }

  acts() {
    return {
      play: (moment, episode) => this.play(moment, episode),
      open: (event, moment) => this.open(event, `${moment.page_url}&q=${encodeURIComponent(this.state.q)}`),
      copyLink: (moment, button) => this.copied(button, new URL(moment.page_url, location.href).href),
      copyQuote: (moment, button) => this.copied(button, quoteText(moment, new URL(moment.page_url, location.href).href)),
      like: (moment) => { this.change({ like: `${moment.episode_id}@${moment.start_s}` }); window.scrollTo(0, 0); },
      ask: (question) => { this.box.value = question; this.typed({ push: true }); },
      clearFilters: () => this.change({ show: [], speaker: [], language: [], since: "", until: "" }),
    };
  }

  play(moment, episode) {
    this.player.open({
      id: moment.episode_id, url: moment.play_url, kind: episode.media_kind ?? "audio", title: moment.title, show: moment.show,
      picture: `/picture/${moment.episode_id}`, page: moment.page_url, duration: episode.duration_s ?? 0,
    }, moment.start_s);
  }
  paintPlaying() {
    const id = this.player.item?.id;
    for (const group of this.root.querySelectorAll("[data-episode]")) group.classList.toggle("playing", group.dataset.episode === id && !this.player.paused);
  }

  async copied(button, text) {
    const done = await copy(text);
    this.live.textContent = say(done ? "results.copied" : "results.not_copied");
    button.dataset.told = this.live.textContent;
    setTimeout(() => delete button.dataset.told, 1600);
  }

  moments() { return [...this.results.querySelectorAll(".moment")]; }
  chosen() {
    const moments = this.moments();
    return moments.find((moment) => moment === this.root.activeElement || moment.contains(this.root.activeElement)) ?? moments[0];
  }
  choose(step) {
    const moments = this.moments();
    const at = moments.findIndex((moment) => moment === this.root.activeElement || moment.contains(this.root.activeElement));
    const next = moments[Math.max(0, Math.min(moments.length - 1, at + step))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  /** Show an episode's page or the explore page: the same HTML that the server sends to a reader without script. */
  async showPage() {
    const { view, episode, t, q } = this.state;
    if (view === "episode" && this.transcript?.id === episode) return this.transcript.enter(t, q);
    this.transcript?.close();
    this.transcript = null;
    this.page.replaceChildren();
    try {
      const response = await fetch(view === "episode" ? `/e/${episode}` : "/explore", { headers: { accept: "text/html" } });
      const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
      if (this.state.view !== view || this.state.episode !== episode) return;
      const article = parsed.querySelector("article.episode, article.explore");
      if (!article) throw new Error(say("episode.missing"));
      document.title = parsed.title;
      await this.showArticle(document.adoptNode(article));
    } catch (error) {
      this.page.replaceChildren(h("div", { class: "nothing", role: "alert" }, h("h2", {}, say("error.title")), h("p", {}, error.message)));
    }
  }
  async showArticle(article) {
    this.frame.dataset.view = this.state.view;
    this.results.hidden = this.filterPlace.hidden = this.status.hidden = true;
    this.page.hidden = false;
    this.page.replaceChildren(article);
    if (article.classList.contains("explore")) {
      article.addEventListener("click", (event) => {
        const link = event.composedPath().find((node) => node.localName === "a");
        if (link) this.open(event, link.getAttribute("href"));
      });
      return;
    }
    const { Transcript } = await import("./transcript.js");
    this.transcript = new Transcript(article, this.player, {
      copied: (button, text) => this.copied(button, text),
      moved: (time) => { this.state = { ...this.state, t: time }; address.write(this.state, { push: false }); },
    });
    this.transcript.enter(this.state.t, this.state.q);
    this.paintPlaying();
  }
}

customElements.define("ear-mark", EarMark);
