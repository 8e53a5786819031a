// What several views draw: an item as a row, an error that says what to do, a quiet placeholder.

import { h } from "./dom.js";
import { told, words } from "./format.js";

export const kindOf = (space, name) => space.columns.find((column) => column.name === name)?.kind;

/** The column an item is called by. */
export function titleColumn(space) {
  return space.shown.find((name) => kindOf(space, name) === "text") ?? null;
}

/** The columns a list asks for: what the Space shows, and one more column of words for a line below the title. */
export function wanted(space) {
  const title = titleColumn(space);
  const more = space.columns.find((column) => column.kind === "text" && column.name !== title);
  return [...space.shown, ...(more && !space.shown.includes(more.name) ? [more.name] : [])];
}

export function titleOf(space, item, fields) {
  const name = titleColumn(space);
  return String((name && fields?.[name]) || item);
}

/** The few facts under a title. */
export function facts(space, item, fields, variants = null) {
  const title = titleColumn(space);
  const out = [];
  for (const name of space.shown) {
    const kind = kindOf(space, name);
    if (name === title || kind === "text") continue;
    const text = told(kind, fields?.[name], name);
    if (text === null) continue;
    const off = kind === "boolean" && fields[name] === false;
    out.push(h("span", { class: off ? "fact off" : "fact" }, kind === "number" ? `${words(name)} ${text}` : text));
  }
  out.push(h("span", { class: "fact" }, h("span", { class: "mono" }, item)));
  if (variants?.count > 1) out.push(h("span", { class: "fact" }, `one of ${variants.count}`));
  return h("p", { class: "facts" }, out);
}

/** A title with the words of the query set off. */
function marked(text, query) {
  const asked = (query ?? "").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  if (!asked.length) return text;
  return text.split(/([\p{L}\p{N}]+)/u).map((part, i) => {
    const low = part.toLowerCase();
    const hit = i % 2 && asked.some((word) => low === word || (word.length > 3 && low.startsWith(word)) || (low.length > 3 && word.startsWith(low)));
    return hit ? h("mark", null, part) : part;
  });
}

/** What merchandising rules did to a hit. */
function ruled(lines) {
  return lines?.length ? h("p", { class: "ruled" }, `rule: ${lines.join("; ")}`) : null;
}

/** One answer as a list row. actions: buttons; below: what hangs under the facts. */
export function row(ctx, hit, { query = "", actions = [], below = null, rank = hit.rank } = {}) {
  const { space } = ctx;
  const title = titleOf(space, hit.item, hit.fields);
  const more = wanted(space).find((name) => kindOf(space, name) === "text" && name !== titleColumn(space));
  const snippet = more ? told("text", hit.fields?.[more], more) : null;
  return h("li", { class: "hit", data: { item: hit.item } },
    h("span", { class: "hit-rank", "aria-hidden": "true" }, rank),
    h("div", { class: "hit-main" },
      h("h3", { class: "hit-title" }, h("a", { href: ctx.itemHref(hit.item) }, marked(title, query))),
      snippet ? h("p", { class: "hit-snippet" }, snippet) : null,
      facts(space, hit.item, hit.fields, hit.variants),
      ruled(hit.because?.rules),
      below),
    actions.length ? h("div", { class: "hit-actions" }, actions) : null);
}

/** "Add" that says so, and takes away again; it follows the history wherever that is changed. */
export function adder(ctx, item, title) {
  const button = h("button", { type: "button", class: "small adder", on: { click: press } });
  function draw() {
    const held = ctx.history.has(item);
    button.textContent = held ? "In history" : "Add";
    button.setAttribute("aria-pressed", String(held));
    button.setAttribute("aria-label", `${held ? "Remove from" : "Add to"} history: ${title}`);
  }
  function press() {
    if (ctx.history.has(item)) ctx.history.remove(item);
    else ctx.history.add(item, title);
    const size = ctx.history.items.length;
    ctx.announce(`${ctx.history.has(item) ? "Added" : "Removed"}. ${size} in the history.`);
    draw();
  }
  const follow = () => {
    if (button.isConnected) draw();
    else ctx.history.removeEventListener("change", follow);
  };
  ctx.history.addEventListener("change", follow);
  draw();
  return button;
}

/** A button that opens a panel under a row, filled when first opened. */
export function opener(text, label, load) {
  const panel = h("div", { class: "panel", hidden: true });
  const button = h("button", {
    type: "button", class: "small", "aria-expanded": "false", "aria-label": `${text}: ${label}`,
    on: {
      click: async () => {
        const open = panel.hidden;
        panel.hidden = !open;
        button.setAttribute("aria-expanded", String(open));
        if (open && !panel.hasChildNodes()) {
          panel.append(h("p", { class: "faint" }, "Asking…"));
          let made;
          try { made = await load(); } catch (error) { made = h("p", { class: "problem" }, error.message); }
          panel.replaceChildren(...[made].flat());
        }
      },
    },
  }, text);
  return { button, panel };
}

/** Rows of the height answers will have. */
export function placeholder(rows) {
  return h("ol", { class: "hits waiting", "aria-hidden": "true" }, Array.from({ length: rows }, () => h("li", { class: "hit" },
    h("span", { class: "hit-rank" }), h("div", { class: "hit-main" },
      h("span", { class: "bone wide" }), h("span", { class: "bone" }), h("span", { class: "bone short" })))));
}

/** Nothing to show, and what to do about it. */
export function empty(title, ...about) {
  return h("div", { class: "empty" }, h("h2", null, title), about.map((a) => (typeof a === "string" ? h("p", null, a) : a)));
}

const ADVICE = {
  0: "Check that the server runs and that this machine can reach it.",
  401: "This server answers only with a key.",
  403: "The key given may not do this.",
  404: null,
  429: "Too many requests in a short time. Wait a moment, then try again.",
  503: "The server is starting, or has more to do than it can. It is tried again.",
};

/** What went wrong, in the server's words, with the way out. */
export function failure(error, ctx, retry) {
  const status = error.status ?? -1;
  const wantsKey = status === 401 || status === 403;
  const lines = String(error.message ?? error).split("\n").map((line) => line.trim()).filter(Boolean);
  return h("div", { class: "empty error", role: "alert" },
    h("h2", null, wantsKey ? "A key is needed" : status === 0 ? "No connection" : "That did not work"),
    lines.map((line) => h("p", null, line)),
    ADVICE[status] ? h("p", null, ADVICE[status]) : null,
    h("div", { class: "row" },
      wantsKey ? h("button", { type: "button", class: "strong", on: { click: ctx.askForKey } }, "Give a key") : null,
      retry ? h("button", { type: "button", class: wantsKey ? "quiet" : "strong", on: { click: retry } }, "Try again") : null),
    error.requestId ? h("p", { class: "faint mono" }, `request ${error.requestId}`) : null);
}

/** Notes of an answer: a fallback, a rule, a filter that was loosened. */
export function notes(lines) {
  return lines?.length ? h("ul", { class: "notes" }, lines.map((line) => h("li", null, typeof line === "string" ? line : JSON.stringify(line)))) : null;
}

/** A select with a label before it. */
export function choice(label, options, chosen, pick) {
  const select = h("select", { on: { change: () => pick(select.value) } },
    options.map(({ value, text }) => h("option", { value, selected: value === chosen }, text)));
  select.value = chosen;
  return h("label", { class: "choice" }, h("span", null, label), select);
}
