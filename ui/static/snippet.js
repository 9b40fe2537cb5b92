// The one line that puts this search on another site, to copy. Loaded when somebody asks for it.

import { copy, h, icon, say } from "./dom.js";

const THEMES = ["", "light", "dark"];

/** Open the dialog. The line asks what `state` asks: its question, its show. */
export function embedHelp(root, state) {
  const code = h("code");
  const theme = h("select", { name: "theme", "aria-label": say("embed.theme"), onchange: () => paint() },
    THEMES.map((name) => h("option", { value: name }, say(`embed.theme_${name || "auto"}`))));
  const paint = () => { code.textContent = line({ show: state.show?.[0], q: state.q, theme: theme.value }); };
  const button = h("button", { type: "button", class: "listen", onclick: async () => {
    button.dataset.told = say((await copy(code.textContent, dialog)) ? "results.copied" : "results.not_copied");
    setTimeout(() => delete button.dataset.told, 1600);
  } }, say("embed.copy"));
  const dialog = h("dialog", { class: "keyhelp wide", "aria-label": say("embed.offer"), onclose: () => dialog.remove() },
    h("header", {}, h("h2", {}, say("embed.offer")), h("button", { type: "button", class: "tool", "aria-label": say("keys.close"), onclick: () => dialog.close() }, icon("close"))),
    h("div", { class: "lines" }, h("p", {}, say("embed.text")), h("label", {}, say("embed.theme"), " ", theme), h("pre", {}, code), button));
  paint();
  root.append(dialog);
  dialog.showModal();
}

/** Return the script element as text; what is empty is left out. */
function line(values) {
  const kept = Object.entries(values).filter(([, value]) => value).map(([name, value]) => ` data-${name}="${escaped(value)}"`);
  return `<script src="${location.origin}/embed.js"${kept.join("")}></script>`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
