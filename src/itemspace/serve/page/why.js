// Why an item came: ranks per retriever, words with their weight, the history items that spoke for it.

import { h } from "./dom.js";
import { metric, words } from "./format.js";

/** The panel under a search hit. */
export function whyFound(told, about = null) {
  const ranks = Object.entries(told.places ?? {});
  const terms = Object.entries(told.words ?? {}).map(([word, fields]) => {
    const parts = Object.entries(fields).filter(([, score]) => Number.isFinite(score));
    return { word, parts, total: parts.reduce((sum, [, score]) => sum + score, 0) };
  }).sort((a, b) => b.total - a.total);
  const most = Math.max(...terms.map((term) => term.total), 1e-9);
  return [
    ranks.length ? h("dl", { class: "why-ranks" }, ranks.map(([name, value]) => h("div", null,
      h("dt", null, words(name)),
      h("dd", null, value === null ? h("span", { class: "faint" }, "does not match") : [h("strong", null, `#${value.rank}`), h("span", { class: "faint" }, ` score ${metric(value.score, 3)}`)])))) : null,
    terms.length ? h("table", { class: "why-terms" },
      h("caption", { class: "sr-only" }, "What each word of the query added"),
      h("tbody", null, terms.map(({ word, parts, total }) => h("tr", null,
        h("th", { scope: "row" }, word),
        h("td", { class: "why-bar" }, h("span", { class: "bar", css: { width: `${Math.max(2, 100 * total / most)}%` } })),
        h("td", { class: "n" }, metric(total, 2)),
        h("td", { class: "faint" }, parts.length ? parts.map(([field, score]) => `${words(field)} ${metric(score, 2)}`).join(", ") : "not in this item"))))) : null,
    about && ranks.length ? h("p", { class: "faint why-about" }, about) : null,
    !ranks.length && !terms.length ? h("p", { class: "faint" }, "Nothing more is known about this answer.") : null,
  ].filter(Boolean);
}

/** "because you chose ..." with the share each item had. */
export function whyRecommended(ctx, because) {
  const reasons = because?.history ?? [];
  if (!reasons.length) return null;
  const all = reasons.reduce((sum, reason) => sum + Math.max(reason.added, 0), 0);
  return h("p", { class: "because" }, h("span", null, "because you chose "), reasons.map((reason) => h("span", { class: "reason" },
    h("a", { href: ctx.itemHref(reason.item), data: { because: reason.item }, title: ctx.history.title(reason.item) }, ctx.history.title(reason.item)),
    all > 0 && reasons.length > 1 ? h("span", { class: "faint" }, ` ${Math.round(100 * Math.max(reason.added, 0) / all)}%`) : null)));
}
