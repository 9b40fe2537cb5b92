// One line on a foreign page: <script src="…/embed.js" data-show="…" data-q="…" data-theme="…"></script>. Puts the frame there and keeps its height.
(() => {
  const home = "__HOME__";
  const script = document.currentScript;
  const query = new URLSearchParams();
  for (const name of ["show", "q", "theme"]) if (script.dataset[name]) query.set(name, script.dataset[name]);
  const frame = document.createElement("iframe");
  frame.src = `${home}/embed?${query}`;
  frame.title = script.dataset.title || "Search";
  frame.allow = "autoplay; clipboard-write";
  frame.loading = "lazy";
  frame.style.cssText = "width:100%;height:5.5rem;border:0;display:block;color-scheme:normal";
  script.after(frame);
  addEventListener("message", (event) => {
    if (event.source === frame.contentWindow && event.origin === new URL(home).origin && event.data?.earmark === "height")
      frame.style.height = `${Math.min(20000, Math.max(60, +event.data.height || 0))}px`;
  });
})();
