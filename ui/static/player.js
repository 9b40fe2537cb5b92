// The player bar: one for the whole visit. Comes in: what to play and the second. Goes out: `time`, `state` events.
// Does not know: search or transcripts. Nothing is requested from a publisher before somebody presses play.

import { clock, config, h, icon, memory, safe, say } from "./dom.js";
import { frameFor } from "./frames.js";

const RATES = [0.75, 1, 1.25, 1.5, 1.75, 2];
const SKIP_S = 15;

class Media {
  /** An <audio> or <video> element behind the same few methods that frames have. */
  constructor(kind, url, start, report) {
    this.element = h(kind === "video" ? "video" : "audio", { preload: "auto", playsinline: true, src: url });
    this.#start = start;
    this.element.addEventListener("loadedmetadata", () => this.#goToStart());
    for (const name of ["timeupdate", "play", "pause", "ended", "seeking", "durationchange", "waiting", "playing"])
      this.element.addEventListener(name, () => report(name));
    this.element.addEventListener("error", () => report("error"));
  }
  #start;
  #goToStart() {
    if (this.#start !== null) this.element.currentTime = this.#start;
    this.#start = null;
  }
  get time() { return this.#start ?? this.element.currentTime; }
  get duration() { return Number.isFinite(this.element.duration) ? this.element.duration : 0; }
  get paused() { return this.element.paused; }
  play() { return this.element.play(); }
  pause() { this.element.pause(); }
  seek(time) {
    if (this.element.readyState) this.element.currentTime = time;
    else this.#start = time;
  }
  set rate(value) { this.element.playbackRate = value; this.element.defaultPlaybackRate = value; }
  close() {
    this.element.pause();
    this.element.removeAttribute("src");
    this.element.load();
    this.element.remove();
  }
}

export class Player extends EventTarget {
  #media = null;
  #rate = RATES.includes(+memory.get("rate")) ? +memory.get("rate") : 1;
  #dragging = false;

  constructor() {
    super();
    this.item = null;
    const button = (name, label, act, extra = "") =>
      h("button", { type: "button", class: `round ${extra}`, "aria-label": label, title: label, onclick: act }, icon(name));
    this.toggleButton = button("play", say("player.play"), () => this.toggle(), "main");
    this.backButton = button("back", say("player.back"), () => this.skip(-SKIP_S));
    this.aheadButton = button("ahead", say("player.ahead"), () => this.skip(SKIP_S));
    this.range = h("input", {
      type: "range", min: 0, max: 1, step: 0.1, value: 0, "aria-label": say("player.position"), class: "position",
      oninput: () => { this.#dragging = true; this.#paintTime(+this.range.value); },
      onchange: () => { this.#dragging = false; this.seek(+this.range.value); },
    });
    this.timeText = h("span", { class: "time" }, "0:00");
    this.lengthText = h("span", { class: "time" }, "");
    this.rateButton = h("button", { type: "button", class: "rate", title: say("player.rate"), onclick: () => this.nextRate() });
    this.titleLink = h("a", { class: "title", href: "/" });
    this.showText = h("span", { class: "show" });
    this.picture = h("img", { alt: "", width: 48, height: 48, class: "cover" });
    this.screen = h("div", { class: "screen", hidden: true });
    this.notice = h("p", { class: "notice", role: "alert", hidden: true });
    this.element = h("section", { class: "player", "aria-label": say("player.name"), hidden: true },
      this.screen,
      h("div", { class: "bar" },
        h("div", { class: "what" }, this.picture, h("div", { class: "names" }, this.titleLink, this.showText)),
        h("div", { class: "keys" }, this.backButton, this.toggleButton, this.aheadButton),
        h("div", { class: "along" }, this.timeText, this.range, this.lengthText),
        h("div", { class: "more" }, this.rateButton, button("close", say("player.close"), () => this.close()))),
      this.notice);
    this.#paintRate();
  }

  get time() { return this.#media ? this.#media.time : 0; }
  get paused() { return !this.#media || this.#media.paused; }

  /** Play `item` {id, url, kind, title, show, picture, page, duration} from a second. */
  open(item, start) {
    const url = safe(item.url);
    if (!url) return this.#tell(say("player.none"));
    this.notice.hidden = true;
    if (this.#media && this.item?.id === item.id && this.item.url === item.url) {
      this.seek(start);
      return this.#play();
    }
    this.#media?.close();
    this.item = item;
    const framed = frameFor(item.kind, url, config.players);
    const report = (name) => this.#report(name);
    this.#media = framed ? framed(start, report) : new Media(item.kind, url, start, report);
    const seen = framed !== null || item.kind === "video";
    this.screen.hidden = !seen;
    this.screen.replaceChildren(this.#media.element);
    this.element.hidden = false;
    this.titleLink.textContent = item.title;
    this.titleLink.href = item.page ?? "/";
    this.showText.textContent = item.show;
    this.picture.src = item.picture ?? "";
    this.picture.hidden = !item.picture;
    this.#media.rate = this.#rate;
    this.#session();
    this.#paintTime(start);
    this.#play();
    this.#emit("item");
  }

  toggle() {
    if (!this.#media) return;
    if (this.#media.paused) this.#play();
    else this.#media.pause();
  }
  seek(time) {
    if (!this.#media) return;
    this.#media.seek(Math.max(0, time));
    this.#paintTime(Math.max(0, time));
    this.#emit("time");
  }
  skip(seconds) { this.seek(this.time + seconds); }
  nextRate(step = 1) {
    const at = RATES.indexOf(this.#rate) + step;
    this.#rate = RATES[(at + RATES.length) % RATES.length];
    memory.set("rate", this.#rate);
    if (this.#media) this.#media.rate = this.#rate;
    this.#paintRate();
  }
  close() {
    this.#media?.close();
    this.#media = null;
    this.item = null;
    this.element.hidden = true;
    this.#emit("item");
  }

  #play() {
    Promise.resolve(this.#media.play()).catch((error) => {
      if (error.name !== "AbortError" && error.name !== "NotAllowedError") this.#tell(say("player.error"));
    });
  }
  #report(name) {
    if (!this.#media) return;
    if (name === "error") return this.#tell(say("player.error"));
    const paused = this.#media.paused;
    const label = say(paused ? "player.play" : "player.pause");
    if (this.toggleButton.title !== label) {
      this.toggleButton.replaceChildren(icon(paused ? "play" : "pause"));
      this.toggleButton.title = label;
      this.toggleButton.setAttribute("aria-label", label);
    }
    this.element.dataset.busy = name === "waiting" ? "yes" : "";
    if (!this.#dragging) this.#paintTime(this.#media.time);
    if ("mediaSession" in navigator) navigator.mediaSession.playbackState = paused ? "paused" : "playing";
    this.#emit(name === "timeupdate" ? "time" : "state");
  }
  #paintTime(time) {
    const duration = this.#media?.duration || this.item?.duration || 0;
    this.range.max = Math.max(duration, time, 1);
    if (!this.#dragging) this.range.value = time;
    this.range.style.setProperty("--played", `${(time / this.range.max) * 100}%`);
    this.range.setAttribute("aria-valuetext", clock(time));
    this.timeText.textContent = clock(time);
    this.lengthText.textContent = duration ? clock(duration) : "";
  }
  #paintRate() {
    this.rateButton.textContent = `${this.#rate}×`;
    this.rateButton.setAttribute("aria-label", `${say("player.rate")}: ${this.#rate}`);
  }
  #session() {
    if (!("mediaSession" in navigator)) return;
    const artwork = this.item.picture ? [{ src: new URL(this.item.picture, location.href).href }] : [];
    navigator.mediaSession.metadata = new MediaMetadata({ title: this.item.title, artist: this.item.show, artwork });
    const acts = {
      play: () => this.#play(), pause: () => this.#media?.pause(), stop: () => this.close(),
      seekbackward: (d) => this.skip(-(d.seekOffset ?? SKIP_S)), seekforward: (d) => this.skip(d.seekOffset ?? SKIP_S),
      seekto: (d) => this.seek(d.seekTime),
    };
    for (const [name, act] of Object.entries(acts)) {
      try { navigator.mediaSession.setActionHandler(name, act); } catch { /* this browser has no such key */ }
    }
  }
  #tell(sentence) {
    this.notice.textContent = sentence;
    this.notice.hidden = false;
    this.element.hidden = false;
  }
  #emit(name) { this.dispatchEvent(new Event(name)); }
}
