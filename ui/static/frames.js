// Players of video sites in a frame, driven by the messages they speak. Nothing is loaded from a site before play is pressed.

import { h } from "./dom.js";

const LISTEN_MS = 250;
const PLAYERS = { youtube: "https://www.youtube-nocookie.com", vimeo: "https://player.vimeo.com" };

/** Return a maker (start, report) -> player for a video page, or null where the address is played directly. */
export function frameFor(kind, url, players = PLAYERS) {
  const home = (players ?? PLAYERS)[kind];
  const video = home && videoId(kind, url);
  if (!video) return null;
  return (start, report) => (kind === "youtube" ? new YouTube(home, video, start, report) : new Vimeo(home, video, start, report));
}

/** Return the id of the video that a page's address names, or null. */
export function videoId(kind, url) {
  const parsed = new URL(url);
  const tail = parsed.pathname.replace(/\/+$/, "").split("/").pop();
  if (kind === "youtube") return /^[\w-]{6,20}$/.exec(parsed.searchParams.get("v") ?? tail)?.[0] ?? null;
  return /^\d+$/.exec(tail)?.[0] ?? null;
}

class Frame {
  constructor(home, source, start, report) {
    this.home = home;
    this.time = start;
    this.duration = 0;
    this.paused = true;
    this.report = report;
    this.ready = false;
    this.waiting = [];
    this.element = h("iframe", { src: source, allow: "autoplay; encrypted-media; picture-in-picture; fullscreen", title: "video", referrerpolicy: "strict-origin-when-cross-origin" });
    this.hear = (event) => {
      if (event.source !== this.element.contentWindow || event.origin !== new URL(this.home).origin) return;
      try {
        this.heard(typeof event.data === "string" ? JSON.parse(event.data) : event.data);
      } catch { /* another kind of message */ }
    };
    window.addEventListener("message", this.hear);
  }
  send(message) { this.element.contentWindow?.postMessage(JSON.stringify(message), this.home); }
  order(...call) {
    if (this.ready) this.command(...call);
    else this.waiting.push(call);
  }
  becomeReady() {
    if (this.ready) return;
    this.ready = true;
    for (const call of this.waiting.splice(0)) this.command(...call);
  }
  set rate(value) { this.order("setPlaybackRate", value); }
  close() {
    window.removeEventListener("message", this.hear);
    clearInterval(this.knocking);
    this.element.remove();
  }
}

class YouTube extends Frame {
  constructor(home, video, start, report) {
    const query = new URLSearchParams({ enablejsapi: 1, playsinline: 1, autoplay: 1, rel: 0, start: Math.floor(start), origin: location.origin });
    super(home, `${home}/embed/${video}?${query}`, start, report);
    this.knocking = setInterval(() => this.send({ event: "listening", id: 1, channel: "widget" }), LISTEN_MS);
    this.order("seekTo", start, true);
  }
  command(name, ...args) { this.send({ event: "command", func: name, args }); }
  heard(message) {
    if (["onReady", "initialDelivery", "infoDelivery"].includes(message.event)) {
      clearInterval(this.knocking);
      this.becomeReady();
    }
    const info = message.info;
    if (!info || typeof info !== "object") return;
    if (typeof info.duration === "number") this.duration = info.duration;
    if (typeof info.playerState === "number") {
      this.paused = ![1, 3].includes(info.playerState);
      this.report(this.paused ? "pause" : "play");
    }
    if (typeof info.currentTime === "number") {
      this.time = info.currentTime;
      this.report("timeupdate");
    }
  }
  play() { this.order("playVideo"); }
  pause() { this.order("pauseVideo"); }
  seek(time) { this.time = time; this.order("seekTo", time, true); }
}

class Vimeo extends Frame {
  constructor(home, video, start, report) {
    super(home, `${home}/video/${video}?${new URLSearchParams({ autoplay: 1, playsinline: 1, dnt: 1 })}#t=${Math.floor(start)}s`, start, report);
    this.knocking = setInterval(() => this.send({ method: "ping" }), LISTEN_MS);
    for (const name of ["timeupdate", "play", "pause", "ended"]) this.order("addEventListener", name);
    this.order("setCurrentTime", start);
  }
  command(name, value) { this.send(value === undefined ? { method: name } : { method: name, value }); }
  heard(message) {
    if (message.event === "ready" || message.method === "ping") {
      clearInterval(this.knocking);
      this.becomeReady();
    }
    if (message.event === "play") this.paused = false;
    if (message.event === "pause" || message.event === "ended") this.paused = true;
    if (message.event === "timeupdate" && message.data) {
      this.time = message.data.seconds;
      this.duration = message.data.duration ?? this.duration;
      this.paused = false;
    }
    if (message.event) this.report(message.event === "timeupdate" ? "timeupdate" : message.event);
  }
  play() { this.order("play"); }
  pause() { this.order("pause"); }
  seek(time) { this.time = time; this.order("setCurrentTime", time); }
}
