// The frame: which Space, which view, the connection, the theme, the key; the address holds everything that can be shared.

import { Api } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { count } from "./format.js";
import { openItem } from "./item.js";
import { failure } from "./parts.js";
import { histories } from "./history.js";

const VIEWS = [
  { name: "search", text: "Search", load: () => import("./search.js") },
  { name: "recommend", text: "Recommend", load: () => import("./recommend.js") },
  { name: "compare", text: "Compare", load: () => import("./compare.js") },
  { name: "map", text: "Map", load: () => import("./map.js") },
  { name: "report", text: "Report", load: () => import("./report.js") },
  { name: "gallery", text: "Gallery", load: () => import("./gallery.js"), alone: true },
];
const THEMES = ["system", "light", "dark"];
const STATES = {
  wait: "connecting", open: "connected", key: "key needed", busy: "busy", lost: "no connection",
};
const one = (id) => document.getElementById(id);

const api = new Api();
const main = one("main");
let spaces = [];
let current = null;
let mounting = 0;

/** What the address says: { view, params }. */
function route() {
  const [, name = "", query = ""] = /^#\/([a-z]*)(?:\?(.*))?$/s.exec(location.hash) ?? [];
  const view = VIEWS.find((v) => v.name === name) ?? VIEWS[0];
  return { view, params: new URLSearchParams(query) };
}

/** An address of this page; empty values are left out. */
function address(view, params = {}) {
  const kept = Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(kept).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

function spaceOf(params) {
  return spaces.find((space) => space.name === params.get("space")) ?? spaces[0] ?? null;
}

/** What a view gets: the Space's description, its calls, and the address. */
function context(view, space) {
  const mine = () => (spaces.length > 1 && space && !view.alone ? { space: space.name } : {});
  const held = () => {
    const { params } = route();
    return Object.fromEntries([...params].filter(([name]) => name !== "space"));
  };
  const context = {
    api, space, calls: space ? api.space(space.name) : null,
    history: space ? histories(space.name) : null,
    href: (name, params) => address(name, { ...mine(), ...params }),
    go: (name, params) => { location.hash = address(name, { ...mine(), ...params }); },
    /** Write the view's own state to the address without a step back for each letter typed. */
    note: (params) => history.replaceState(null, "", address(view.name, { ...mine(), ...params })),
    itemHref: (item) => address(view.name, { ...mine(), ...held(), item }),
    show: (item) => { location.hash = context.itemHref(item); },
    hide: () => {
      const { item: _, ...rest } = held();
      history.replaceState(null, "", address(view.name, { ...mine(), ...rest }));
    },
    busy: (on) => { one("progress").hidden = !on; },
    announce,
    askForKey,
  };
  return context;
}

async function follow() {
  const { view, params } = route();
  const space = spaceOf(params);
  drawNavigation(view, space);
  if (!view.alone && !space) return;
  if (current?.view === view && current.space === space) {
    current.update?.(params);
  } else {
    const turn = (mounting += 1);
    current?.destroy?.();
    current = null;
    document.title = `${view.text} – ${view.alone || !space ? "itemspace" : space.name}`;
    const ctx = context(view, space);
    const root = h("div", { class: `view view-${view.name}` });
    let made;
    try {
      made = await (await view.load()).mount(root, ctx, params);
    } catch (error) {
      made = {};
      fill(root, failure(error, ctx, () => { current = null; follow(); }));
    }
    if (turn !== mounting) { made.destroy?.(); return; }
    current = { ...made, view, space, ctx };
    fill(main, root);
    scrollTo(0, 0);
  }
  openItem(one("item"), current.ctx, params.get("item"));
}

function drawNavigation(view, space) {
  const several = spaces.length > 1 && space ? { space: space.name } : {};
  fill(one("views"), VIEWS.map((v) => h("a", {
    href: address(v.name, v.alone ? {} : several), "aria-current": v === view ? "page" : null, data: { text: v.text },
  }, v.text)));
  one("brand").setAttribute("href", address("search", several));
  const chosen = one("views").querySelector("[aria-current]");
  chosen?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (space) one("space").value = space.name;
}

function drawSpaces() {
  const pick = one("space");
  fill(pick, spaces.map((space) => h("option", { value: space.name }, `${space.name} · ${count(space.items)} items`)));
  pick.disabled = spaces.length < 2;
  if (!spaces.length) fill(pick, h("option", null, "no Space"));
}

let again = 0;
async function connect() {
  clearTimeout(again);
  try {
    spaces = (await api.spaces()).spaces;
  } catch (error) {
    const wait = context(VIEWS[0], null);
    current?.destroy?.();
    current = null;
    if (main.querySelector(".error")?.dataset.said !== error.message) {
      const told = failure(error, wait, connect);
      told.dataset.said = error.message;
      fill(main, told);
    }
    if (error.status === 0 || error.status === 503) again = setTimeout(connect, 3000);
    return;
  }
  drawSpaces();
  if (!spaces.length && !route().view.alone) {
    fill(main, h("div", { class: "empty" }, h("h2", null, "No Space is served here"),
      h("p", null, "Build one and serve it:"), h("pre", null, "itemspace build items.parquet -o shop.space\nitemspace serve shop.space")));
    drawNavigation(route().view, null);
    return;
  }
  await follow();
}

function drawState() {
  const state = one("state");
  state.dataset.state = api.state;
  one("state-text").textContent = STATES[api.state];
  state.title = api.state === "key" || api.key ? "The key this tab sends" : "The connection to this server; press to give a key";
}

function askForKey() {
  const box = one("key");
  const input = h("input", { id: "key-value", type: "password", autocomplete: "off", spellcheck: "false", value: api.key });
  const keep = (value) => { api.key = value; box.close(); connect(); };
  fill(box, h("form", { method: "dialog", on: { submit: (event) => { event.preventDefault(); keep(input.value.trim()); } } },
    h("h2", { id: "key-title" }, "API key"),
    h("p", null, "Kept in this tab only and sent as a header with each request. Closing the tab forgets it."),
    h("label", { for: "key-value" }, "Key"), input,
    h("div", { class: "row end" },
      api.key ? h("button", { type: "button", class: "quiet", on: { click: () => keep("") } }, "Forget it") : null,
      h("button", { type: "button", class: "quiet", on: { click: () => box.close() } }, "Cancel"),
      h("button", { type: "submit", class: "strong" }, "Use it"))));
  if (!box.open) box.showModal();
  input.focus();
}

function theme() {
  let chosen;
  try { chosen = localStorage.getItem("itemspace.theme"); } catch { /* not kept */ }
  return THEMES.includes(chosen) ? chosen : "system";
}

function drawTheme() {
  const chosen = theme();
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  one("theme-name").textContent = chosen;
  document.dispatchEvent(new Event("themechange"));
}

one("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  try { localStorage.setItem("itemspace.theme", next); } catch { /* for this page only */ }
  drawTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
one("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
one("state").addEventListener("click", askForKey);
one("space").addEventListener("change", (event) => {
  const { view } = route();
  location.hash = address(view.alone ? "search" : view.name, { space: event.target.value });
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const box = document.querySelector("[data-slash]");
  if (box) { event.preventDefault(); box.focus(); box.select(); }
});
api.addEventListener("state", drawState);
addEventListener("hashchange", follow);
drawTheme();
drawState();
drawNavigation(route().view, null);
connect();
