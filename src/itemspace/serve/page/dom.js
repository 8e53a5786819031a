// Elements from plain values. Every child that is not a node becomes a text node: what the server says is never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "indeterminate", "tabIndex", "selected"]);

function made(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "css") for (const [key, set] of Object.entries(value)) element.style.setProperty(key, set);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** An HTML element: h("p", { class: "faint", on: { click } }, "text", child, [more]). */
export function h(tag, props, ...children) {
  return made(document.createElement(tag), props, children);
}

/** A button that does something. */
export function button(text, click, props = {}) {
  return h("button", { type: "button", ...props, on: { click } }, text);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return made(document.createElementNS(SVG, tag), props, children);
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** A server's URL as a link only where it is one; text otherwise (no javascript: or data: links). */
export function link(url, text) {
  if (typeof url === "string" && /^https?:\/\//i.test(url)) {
    return h("a", { href: url, rel: "noopener noreferrer", target: "_blank" }, text ?? url);
  }
  return h("span", { class: "mono" }, text ?? url);
}

/** Say something to a screen reader without moving anything. */
export function announce(text) {
  const place = document.getElementById("announce");
  if (place.textContent !== text) place.textContent = text;
}

/** Call `run` once `wait` ms after the last call; `.now()` runs what is waiting, `.stop()` drops it. */
export function debounced(run, wait) {
  let timer = 0;
  let waiting = null;
  const later = (...given) => {
    waiting = given;
    clearTimeout(timer);
    timer = setTimeout(later.now, wait);
  };
  later.now = () => {
    clearTimeout(timer);
    if (waiting === null) return;
    const given = waiting;
    waiting = null;
    run(...given);
  };
  later.stop = () => { clearTimeout(timer); waiting = null; };
  return later;
}

let ids = 0;
/** An ID no other element of the page has. */
export function fresh(stem) {
  ids += 1;
  return `${stem}-${ids}`;
}

/** A row of buttons of which one is chosen; arrow keys move, as in a radio group. */
export function segmented(label, options, chosen, pick) {
  const buttons = options.map(({ value, text, hint }) => h("button", {
    type: "button", role: "radio", class: "segment", title: hint,
    on: { click: () => choose(value, false) }, data: { value },
  }, text));
  const group = h("div", { class: "segmented", role: "radiogroup", "aria-label": label, on: { keydown: moved } }, buttons);
  function show(value) {
    for (const button of buttons) {
      const on = button.dataset.value === String(value);
      button.setAttribute("aria-checked", String(on));
      button.tabIndex = on ? 0 : -1;
    }
    if (!buttons.some((button) => button.tabIndex === 0) && buttons.length) buttons[0].tabIndex = 0;
  }
  function choose(value, focus) {
    show(value);
    if (focus) buttons.find((button) => button.dataset.value === String(value)).focus();
    pick(value);
  }
  function moved(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = buttons.indexOf(document.activeElement);
    choose(options[(at + step + options.length) % options.length].value, true);
  }
  show(chosen);
  group.show = show;
  return group;
}
