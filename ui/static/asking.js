// Asking the API: one question at a time, stale answers thrown away, answers of this visit remembered.

const KEPT = 100;
const kept = new Map();

export class Asking {
  #controller = null;
  #turn = 0;

  /** Ask `url`; null where a newer question overtook this one. Throws an Error with a readable message. */
  async get(url) {
    const turn = ++this.#turn;
    this.#controller?.abort();
    if (kept.has(url)) return kept.get(url);
    this.#controller = new AbortController();
    try {
      const answer = await getJson(url, this.#controller.signal);
      kept.set(url, answer);
      if (kept.size > KEPT) kept.delete(kept.keys().next().value);
      return turn === this.#turn ? answer : null;
    } catch (error) {
      if (turn !== this.#turn || error.name === "AbortError") return null;
      throw error;
    }
  }

  /** Forget the question in hand. */
  stop() {
    this.#turn++;
    this.#controller?.abort();
  }
}

/** Fetch JSON; an error carries the server's own sentence. */
export async function getJson(url, signal) {
  const response = await fetch(url, { signal, headers: { accept: "application/json" } });
  if (response.ok) return response.json();
  const text = await response.text();
  let sentence = text.slice(0, 300);
  try {
    sentence = JSON.parse(text).error ?? sentence;
  } catch { /* a plain sentence */ }
  throw new Error(typeof sentence === "string" ? sentence : String(response.status));
}
