// The items someone chose, oldest first: one list per Space, kept in this browser.

const MOST = 50;
const kept = new Map();

class History extends EventTarget {
  constructor(name) {
    super();
    this.name = `itemspace.history.${name}`;
    this.items = [];
    this.titles = {};
    try {
      const saved = JSON.parse(localStorage.getItem(this.name) ?? "{}");
      if (Array.isArray(saved.items)) this.items = saved.items.filter((item) => typeof item === "string").slice(-MOST);
      if (saved.titles && typeof saved.titles === "object") this.titles = saved.titles;
    } catch { /* start empty */ }
  }

  has(item) { return this.items.includes(item); }
  title(item) { return typeof this.titles[item] === "string" ? this.titles[item] : item; }

  add(item, title) {
    if (this.has(item)) return;
    this.titles[item] = title ?? this.titles[item] ?? item;
    this.set([...this.items, item]);
  }

  remove(item) { this.set(this.items.filter((other) => other !== item)); }
  clear() { this.set([]); }

  /** Move an item by some places, -1 towards the oldest. */
  move(item, by) {
    const items = [...this.items];
    const at = items.indexOf(item);
    const to = Math.max(0, Math.min(items.length - 1, at + by));
    items.splice(to, 0, ...items.splice(at, 1));
    this.set(items);
  }

  /** What an item is called, learned after it was added. */
  call(item, title) {
    this.titles[item] = title;
    this.#save();
  }

  set(items) {
    this.items = items.slice(-MOST);
    this.titles = Object.fromEntries(this.items.map((item) => [item, this.title(item)]));
    this.#save();
    this.dispatchEvent(new Event("change"));
  }

  #save() {
    try { localStorage.setItem(this.name, JSON.stringify({ items: this.items, titles: this.titles })); } catch { /* this page only */ }
  }
}

/** The history of a Space; the same object for every view. */
export function histories(name) {
  if (!kept.has(name)) kept.set(name, new History(name));
  return kept.get(name);
}
