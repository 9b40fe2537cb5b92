// An episode's page in hand: follows the voice word by word, a press on a word goes there, find within, chapters, heat.
// Comes in: the article as the server rendered it, the player. Only the sentence being said is ever cut into words, so a
// three-hour transcript costs no more than a short one.

import { getJson } from "./asking.js";
import { clock, day, h, paintHeat, say } from "./dom.js";

const LEAD_S = 0.15; // recognised words start early; the mark moves a little ahead of the ear
const FIND_WAIT_MS = 120;

export class Transcript {
  #words = null;
  #now = null;
  #nowWord = null;
  #chapter;
  #following = true;
  #scrolledAt = 0;
  #frame = 0;

  constructor(article, player, acts) {
    this.article = article;
    this.player = player;
    this.acts = acts;
    this.id = article.dataset.id;
    this.sentences = [...article.querySelectorAll(".s")];
    this.starts = this.sentences.map((sentence) => +sentence.dataset.t);
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.listenButton = article.querySelector("button.listen");
    if (this.listenButton) {
      this.listenButton.hidden = false;
      this.listenButton.addEventListener("click", () => this.play(this.entered ?? 0), { signal });
    }
    article.addEventListener("pointerdown", (event) => this.#cutAt(event), { signal });
    article.addEventListener("click", (event) => this.#pressed(event), { signal });
    for (const name of ["wheel", "touchmove"]) window.addEventListener(name, () => this.#readerScrolled(), { signal, passive: true });
    window.addEventListener("keydown", (event) => { if (["PageDown", "PageUp", "Home", "End", "ArrowDown", "ArrowUp"].includes(event.key)) this.#readerScrolled(); }, { signal });
    player.addEventListener("time", () => this.#followSoon(), { signal });
    player.addEventListener("state", () => this.#followSoon(), { signal });
    this.followButton = h("button", { type: "button", class: "follow", hidden: true, onclick: () => { this.#setFollowing(true); this.#follow(true); } }, say("episode.follow"));
    article.append(this.followButton);
    for (const time of article.querySelectorAll("time")) time.textContent = day(time.dateTime);
    this.chapters = [...article.querySelectorAll(".chapters li")].map((row) => ({ row, start: +row.querySelector("a").dataset.seek }));
    this.#addFind(signal);
    this.#addQuotes(signal);
  }

  /** Go to what an address says: a second, a question. */
  enter(time, query) {
    this.entered = time;
    if (this.listenButton && time !== null) this.listenButton.querySelector("span").textContent = say("episode.listen_at", { time: clock(time) });
    for (const target of this.article.querySelectorAll(".s.target")) target.classList.remove("target");
    if (time !== null && this.sentences.length) {
      const sentence = this.sentences[this.#at(time + 0.05)];
      sentence.classList.add("target");
      requestAnimationFrame(() => this.#show(sentence, "instant"));
    }
    if (query) this.#heat(query);
  }

  play(time) {
    const data = this.article.dataset;
    this.#setFollowing(true);
    this.#loadWords();
    this.player.open({ id: data.id, url: data.play, kind: data.kind, title: data.title, show: data.show, picture: `/picture/${data.id}`, page: `/e/${data.id}`, duration: +data.duration || 0 }, time);
  }

  close() {
    this.stop.abort();
    cancelAnimationFrame(this.#frame);
  }

  #at(time) {
    let [low, high] = [0, this.starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= time) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  async #loadWords() {
    this.#words ??= getJson(`/api/words/${this.id}`).then((answer) => {
      if (answer.estimated) this.article.querySelector(".estimated")?.removeAttribute("hidden");
      return (this.wordTimes = answer.segments);
    }).catch(() => (this.#words = null));
    return this.#words;
  }

  /** Cut a sentence into words that know their time. */
  #cut(sentence) {
    const times = this.wordTimes?.[+sentence.dataset.i];
    if (!times || sentence.dataset.cut) return;
    sentence.dataset.cut = "yes";
    const text = sentence.textContent;
    const pieces = [];
    let at = 0;
    times.forEach(([size, start, end], index) => {
      const until = index === times.length - 1 ? text.length : Math.min(text.length, at + size);
      if (until > at) pieces.push(h("span", { class: "w", dataset: { t: start / 100, e: end / 100 } }, text.slice(at, until)));
      at = until;
    });
    sentence.replaceChildren(...pieces);
  }

  #cutAt(event) {
    const sentence = event.target.closest?.(".s");
    if (!sentence) return;
    if (this.wordTimes) this.#cut(sentence);
    else this.#loadWords().then(() => this.#cut(sentence));
  }
  async #pressed(event) {
    const chapter = event.target.closest?.("[data-seek]");
    if (chapter) {
      event.preventDefault();
      return this.#goTo(+chapter.dataset.seek);
    }
    const sentence = event.target.closest?.(".s");
    if (!sentence || !this.article.dataset.play || String(getSelection()).length > 1) return;
    const { clientX, clientY } = event;
    await this.#loadWords();
    this.#cut(sentence);
    const word = this.article.getRootNode().elementFromPoint(clientX, clientY)?.closest?.(".w");
    this.#goTo(word ? +word.dataset.t : +sentence.dataset.t);
  }
  #goTo(time) {
    this.acts.moved(time);
    this.entered = time;
    this.play(time);
    if (!this.article.dataset.play && this.sentences.length) this.#show(this.sentences[this.#at(time + 0.05)], "smooth");
  }

  #followSoon() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#follow());
  }
  #follow(jump = false) {
    if (this.player.item?.id !== this.id || !this.sentences.length) return;
    const time = this.player.time + LEAD_S;
    const sentence = this.sentences[this.#at(time)];
    if (sentence !== this.#now) {
      this.#now?.classList.remove("now");
      sentence.classList.add("now");
      this.#now = sentence;
      if (this.wordTimes) this.#cut(sentence);
      else this.#loadWords().then(() => this.#cut(sentence));
      if (this.#following) this.#show(sentence, "smooth");
    } else if (jump) this.#show(sentence, "smooth");
    const chapter = this.chapters.findLast(({ start }) => start <= time);
    if (chapter !== this.#chapter) {
      this.#chapter?.row.classList.remove("now");
      chapter?.row.classList.add("now");
      this.#chapter = chapter;
    }
    let word = null;
    for (const candidate of sentence.querySelectorAll(".w")) if (+candidate.dataset.t <= time) word = candidate;
    if (word !== this.#nowWord) {
      this.#nowWord?.classList.remove("now");
      word?.classList.add("now");
      this.#nowWord = word;
    }
    if (!this.player.paused) this.#frame = requestAnimationFrame(() => this.#follow()); // between the player's own four reports a second
  }

  #show(element, behavior) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#scrolledAt = performance.now();
    element.scrollIntoView({ block: "center", behavior: calm ? "instant" : behavior });
  }
  #readerScrolled() {
    if (this.player.item?.id === this.id && !this.player.paused && performance.now() - this.#scrolledAt > 50) this.#setFollowing(false);
  }
  #setFollowing(on) {
    this.#following = on;
    this.followButton.hidden = on || this.player.item?.id !== this.id;
  }

  #addFind(signal) {
    const place = this.article.querySelector(".find");
    if (!place) return;
    let found = [];
    let at = -1;
    const told = h("output", { class: "told" });
    const go = (step) => {
      if (!found.length) return;
      found[at]?.classList.remove("chosen");
      at = (at + step + found.length) % found.length;
      found[at].classList.add("chosen");
      told.textContent = say("episode.find_at", { n: at + 1, all: found.length });
      this.#setFollowing(false);
      this.#show(found[at], "instant");
    };
    const find = () => {
      for (const sentence of found) sentence.classList.remove("found", "chosen");
      const wanted = box.value.trim().toLocaleLowerCase();
      found = wanted.length < 2 ? [] : this.sentences.filter((sentence) => sentence.textContent.toLocaleLowerCase().includes(wanted));
      for (const sentence of found) sentence.classList.add("found");
      this.#markFound(found, wanted);
      at = -1;
      told.textContent = wanted.length < 2 ? "" : say("episode.find_none");
      go(1);
    };
    let timer = 0;
    const box = h("input", {
      type: "search", name: "find", placeholder: say("episode.find"), "aria-label": say("episode.find"),
      oninput: () => { clearTimeout(timer); timer = setTimeout(find, FIND_WAIT_MS); },
      onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); go(event.shiftKey ? -1 : 1); } },
    });
    const step = (sign, key, by) => h("button", { type: "button", class: "tool", "aria-label": say(key), title: say(key), onclick: () => go(by) }, sign);
    place.replaceChildren(box, step("↑", "episode.previous", -1), step("↓", "episode.next", 1), told);
    place.hidden = false;
    signal.addEventListener("abort", () => clearTimeout(timer));
  }
  #markFound(found, wanted) {
    if (!("highlights" in CSS)) return;
    const ranges = [];
    for (const sentence of found.slice(0, 500)) {
      const walker = document.createTreeWalker(sentence, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = node.data.toLocaleLowerCase();
        if (text.length !== node.data.length) continue;
        for (let index = text.indexOf(wanted); index >= 0; index = text.indexOf(wanted, index + wanted.length)) {
          const range = new Range();
          range.setStart(node, index);
          range.setEnd(node, index + wanted.length);
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("earmark-found", new Highlight(...ranges));
  }

  #addQuotes(signal) {
    for (const button of this.article.querySelectorAll("button.copylink")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        const time = this.player.item?.id === this.id ? this.player.time : this.entered;
        const sentence = this.sentences[this.#at((time ?? 0) + 0.05)];
        const link = new URL(`/e/${this.id}${time === null || time === undefined ? "" : `?t=${Math.round(time)}`}`, location.href).href;
        const from = [this.article.dataset.title, this.article.dataset.show].join(", ");
        this.acts.copied(button, button.dataset.what === "quote" && sentence ? `“${sentence.textContent.trim()}”\n— ${from}, ${clock(+sentence.dataset.t)}\n${new URL(`/e/${this.id}?t=${sentence.dataset.t}`, location.href).href}` : link);
      }, { signal });
    }
  }

  async #heat(query) {
    const place = this.article.querySelector(".heat");
    if (!place || place.dataset.q === query) return;
    place.dataset.q = query;
    try {
      const { heat } = await getJson(`/api/heat/${this.id}?q=${encodeURIComponent(query)}`);
      paintHeat(place, heat);
      place.hidden = false;
      place.setAttribute("aria-label", say("episode.heat", { q: query }));
      place.onclick = (event) => {
        const box = place.getBoundingClientRect();
        this.#goTo(((event.clientX - box.left) / box.width) * (+this.article.dataset.duration || 0));
      };
    } catch { /* the page reads well without a strip */ }
  }
}
