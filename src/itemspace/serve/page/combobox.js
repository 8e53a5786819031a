// A text box that suggests while one types (ARIA combobox with a list box popup).

import { Latest } from "./api.js";
import { debounced, fill, fresh, h } from "./dom.js";

/**
 * `input` becomes a combobox over `list`. source(text, signal) -> [{ text, detail, value }]; pick(option) when one is chosen;
 * enter(text) when Enter is pressed without one. A suggestion is a help: a source that fails shows none.
 */
export function combobox(input, { source, pick, enter = () => {}, label = "Suggestions", wait = 90 }) {
  const list = h("ul", { class: "options", role: "listbox", id: fresh("options"), "aria-label": label, hidden: true });
  const latest = new Latest();
  let options = [];
  let at = -1;
  for (const [name, value] of Object.entries({
    role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id,
    autocomplete: "off", autocapitalize: "off", spellcheck: "false",
  })) input.setAttribute(name, value);

  const load = debounced(async (text) => {
    let found;
    try {
      found = await latest.run((signal) => source(text, signal));
    } catch {
      found = [];
    }
    if (found !== undefined && document.activeElement === input) show(found);
  }, wait);

  function show(found) {
    options = found;
    at = -1;
    input.removeAttribute("aria-activedescendant");
    fill(list, found.map((option, i) => h("li", {
      role: "option", id: `${list.id}-${i}`, "aria-selected": "false",
      on: {
        mousedown: (event) => { event.preventDefault(); chosen(i); },
        mousemove: () => { if (at !== i) move(i); },
      },
    }, h("span", { class: "option-text" }, option.text), option.detail ? h("span", { class: "option-detail" }, option.detail) : null)));
    list.hidden = found.length === 0;
    input.setAttribute("aria-expanded", String(found.length > 0));
  }

  function move(to) {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = to;
    const option = list.children[at];
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }

  function close() {
    load.stop();
    latest.stop();
    show([]);
  }

  function chosen(i) {
    const option = options[i];
    close();
    pick(option);
  }

  input.addEventListener("input", () => {
    if (input.value.trim() === "") close();
    else load(input.value);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const size = options.length;
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!size) {
        if (event.key === "ArrowDown" && input.value.trim()) { event.preventDefault(); load(input.value); load.now(); }
        return;
      }
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      move(((at + 1 + step + size + 1) % (size + 1)) - 1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (at >= 0) chosen(at);
      else { close(); enter(input.value); }
    } else if (event.key === "Escape") {
      if (size) { event.preventDefault(); event.stopPropagation(); close(); }
      else if (input.value) { event.preventDefault(); input.value = ""; input.dispatchEvent(new Event("input")); }
    }
  });
  return { list, close };
}
