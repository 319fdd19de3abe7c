// Asks for this page again and puts its new parts in the place of the old ones. All of it is made
// by the server; nothing here makes HTML out of data.
"use strict";

const search = document.getElementById("search");
const lost = document.getElementById("lost");
const every = Math.min(Math.max(Number(document.body.dataset.every) || 10, 1), 10) * 1000;
let timer = 0;
let asking = null;
let good = new Date();

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  const mine = asking = new AbortController();
  const late = setTimeout(() => mine.abort(), 10000);
  try {
    const answer = await fetch(location.href, { signal: mine.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    good = new Date();
    lose(false);
  } catch (error) {
    // Asked anew meanwhile: that one will tell.
    if (asking !== mine) return;
    lose(true);
  } finally {
    clearTimeout(late);
    if (asking === mine) timer = setTimeout(refresh, every);
  }
}

function show(page) {
  // Somebody is marking text to copy it.
  if (!getSelection().isCollapsed) return;
  document.title = page.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = page.getElementById(old.id);
    if (now && now.innerHTML !== old.innerHTML) old.replaceWith(document.importNode(now, true));
  }
  const icon = page.querySelector("link[rel=icon]");
  if (icon) document.querySelector("link[rel=icon]").replaceWith(document.importNode(icon, true));
}

function lose(yes) {
  document.body.classList.toggle("lost", yes);
  lost.hidden = !yes;
  if (yes) {
    lost.textContent = `The poller has not answered since ${good.toLocaleTimeString()}`;
    document.title = "lost · clockout";
  }
}

function go(address) {
  history.replaceState(null, "", address);
  refresh();
}

search.addEventListener("submit", (event) => event.preventDefault());
search.addEventListener("input", () => {
  const address = new URL(location.href);
  address.searchParams.delete("page");
  address.searchParams.set("q", search.elements.q.value);
  if (!search.elements.q.value) address.searchParams.delete("q");
  go(address);
});

// Links to another span or page of this one.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-live] nav a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  search.elements.span.value = new URL(link.href).searchParams.get("span") ?? "1h";
  go(link.href);
});

// What the chart says where the pointer is.
document.addEventListener("pointermove", (event) => {
  const area = event.target.closest?.(".area[data-samples]");
  document.querySelectorAll(".at, .told").forEach((mark) => mark.remove());
  if (!area) return;
  const samples = JSON.parse(area.dataset.samples);
  const { step, width } = area.dataset;
  const box = area.getBoundingClientRect();
  const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 0.9999);
  const back = width - 1 - Math.floor(share * width);
  const sample = samples[samples.length - 1 - back];
  if (!sample) return;
  const [waiting, running, alive] = sample.map((number) => number ?? "?");
  const when = new Date((Number(area.dataset.now) - back * step) * 1000).toLocaleTimeString();
  const at = area.appendChild(document.createElement("div"));
  at.className = "at";
  at.style.left = `${share * 100}%`;
  const told = area.appendChild(document.createElement("div"));
  told.className = "told";
  told.textContent = `${when}: ${waiting} waiting, ${running} running, ${alive} instances`;
  told.style[share > 0.5 ? "right" : "left"] = `${(share > 0.5 ? 1 - share : share) * 100 + 1}%`;
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
timer = setTimeout(refresh, every);
