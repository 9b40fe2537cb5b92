// The keyboard: which key does what, and the list of them. Events come out of the Shadow DOM, so the true target is in the path.

import { h, icon, say } from "./dom.js";

const SKIP_S = 15;

/** Call `acts` for keys pressed outside of fields. */
export function onKeys(host, acts) {
  document.addEventListener("keydown", (event) => {
    const target = event.composedPath()[0];
    const writes = target instanceof HTMLInputElement ? target.type !== "range" : target?.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target?.tagName ?? "");
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || host.shadowRoot.querySelector("dialog[open]")) return;
    if (writes) {
      if (event.key === "Escape") target.blur();
      if (target.id !== "q") return;
      if (event.key === "ArrowDown") { event.preventDefault(); acts.next(1); }
      return;
    }
    const presses = target?.closest?.("button, a, summary, input") && [" ", "Enter"].includes(event.key);
    if (presses) return;
    const act = {
      "/": () => acts.search(), j: () => acts.next(1), k: () => acts.next(-1), Enter: () => acts.open(), "?": () => acts.help(),
      " ": acts.hasPlayer() ? () => acts.toggle() : null, l: () => acts.skip(SKIP_S), h: () => acts.skip(-SKIP_S),
      ArrowRight: target?.type === "range" ? null : () => acts.skip(SKIP_S), ArrowLeft: target?.type === "range" ? null : () => acts.skip(-SKIP_S),
      ">": () => acts.rate(1), "<": () => acts.rate(-1),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** Open the list of keys. */
export function keyHelp(root) {
  const rows = [["/", "search"], ["j", "next"], ["k", "previous"], ["Enter", "open"], ["Space", "space"], ["← →", "skip"], ["< >", "rate"], ["?", "help"]];
  const dialog = h("dialog", { class: "keyhelp", "aria-label": say("keys.title"), onclose: () => dialog.remove() },
    h("header", {}, h("h2", {}, say("keys.title")), h("button", { type: "button", class: "tool", "aria-label": say("keys.close"), onclick: () => dialog.close() }, icon("close"))),
    h("dl", {}, rows.flatMap(([key, name]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, say(`keys.${name}`))])));
  root.append(dialog);
  dialog.showModal();
}
