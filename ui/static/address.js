// Every state is an address: reading and writing it. Inside a Space the outer page's address bar follows.

const SPACE = "https://huggingface.co";
const REST_MS = 250;
const QUERY_CHARACTERS = 400; // more is not searched
const LISTS = ["show", "speaker", "language"];
const SINGLES = ["since", "until", "sort", "like"];

/** Return the state that an address means. */
export function read(url = new URL(location.href)) {
  const params = url.searchParams;
  const state = { view: "search", q: (params.get("q") ?? "").slice(0, QUERY_CHARACTERS), episode: null, t: null };
  for (const name of LISTS) state[name] = params.getAll(name);
  for (const name of SINGLES) state[name] = params.get(name) ?? "";
  if (url.pathname === "/explore") state.view = "page";
  const page = /^\/e\/([a-z2-7]+)$/.exec(url.pathname);
  const episode = page ? page[1] : params.get("e"); // ?e= is how a Space's outer address carries an episode
  if (episode && /^[a-z2-7]+$/.test(episode)) {
    state.view = "episode";
    state.episode = episode;
    state.t = params.has("t") && Number.isFinite(+params.get("t")) ? Math.max(0, +params.get("t")) : null;
  }
  return state;
}

/** Return the search parameters of a state, for /api/search and for the address. */
export function params(state) {
  const found = new URLSearchParams();
  if (state.q) found.set("q", state.q);
  for (const name of LISTS) for (const value of state[name] ?? []) found.append(name, value);
  for (const name of SINGLES) if (state[name] && state[name] !== "best") found.set(name, state[name]);
  return found;
}

/** Return the path of a state on this site. */
export function path(state) {
  if (state.view === "episode") {
    const found = new URLSearchParams();
    if (state.t !== null) found.set("t", seconds(state.t));
    if (state.q) found.set("q", state.q);
    return `/e/${state.episode}${found.size ? `?${found}` : ""}`;
  }
  if (state.view === "page") return "/explore";
  const found = params(state);
  return `/${found.size ? `?${found}` : ""}`;
}

let resting = 0; // the timer of an address that waits for typing to rest
let waiting = null;

/** Write a state into the address bar when typing rests: Safari allows 100 changes in 30 seconds, and each costs a browser time. */
export function writeSoon(state) {
  clearTimeout(resting);
  waiting = state;
  resting = setTimeout(settle, REST_MS);
}

/** Write what waits. */
export function settle() {
  if (waiting) write(waiting, { push: false });
}

/** Let what waits go: the reader went back. */
export function forget() {
  clearTimeout(resting);
  waiting = null;
}

/** Write a state into the address bar. */
export function write(state, { push }) {
  forget();
  const target = path(state);
  if (target === location.pathname + location.search) return;
  history[push ? "pushState" : "replaceState"](null, "", target);
  if (window.parent !== window) {
    const found = params(state);
    if (state.view === "episode") {
      found.set("e", state.episode);
      if (state.t !== null) found.set("t", seconds(state.t));
    }
    window.parent.postMessage({ queryString: `?${found}`, hash: "" }, SPACE);
  }
}

/** Return whether a state asks for anything. */
export function asks(state) {
  return Boolean(state.q.trim() || state.like);
}

/** Return how many filters a state sets. */
export function filters(state) {
  return LISTS.reduce((sum, name) => sum + state[name].length, 0) + Boolean(state.since) + Boolean(state.until);
}

function seconds(time) {
  return String(Math.round(time * 10) / 10);
}
