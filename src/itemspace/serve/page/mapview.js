// Points on a canvas: drawing, moving, zooming, and which point lies under a place. Knows nothing of items.
// Discs are set pixel by pixel: tens of thousands of points take a few milliseconds, with or without a graphics card.

const CELLS = 96;
const FAR = 40;

export class MapView {
  /** over(row, x, y) when the point under the pointer or in the middle changes (-1: none); pick(row) when one is chosen. */
  constructor(canvas, { over, pick }) {
    Object.assign(this, { canvas, over, pick, n: 0, marks: [], center: null, keyed: false, hovered: -1 });
    this.pen = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.pointers = new Map();
    this.frame = 0;
    this.sized = new ResizeObserver(() => this.resize());
    this.sized.observe(canvas);
    for (const [type, run] of Object.entries({
      pointerdown: this.down, pointermove: this.moved, pointerup: this.up, pointercancel: this.up, pointerleave: this.left,
      keydown: this.key, blur: this.blurred,
    })) canvas.addEventListener(type, run.bind(this));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => this.zoom(2, event.offsetX, event.offsetY));
  }

  close() {
    this.sized.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** x, y: coordinates of any scale; group: which color each point has, below `groups`. */
  take(x, y, group, groups) {
    const n = x.length;
    const [x0, x1] = ends(x);
    const [y0, y1] = ends(y);
    const span = Math.max(x1 - x0, y1 - y0) || 1;
    this.n = n;
    this.x = Float32Array.from(x, (v) => (v - (x0 + x1) / 2) / span);
    this.y = Float32Array.from(y, (v) => -(v - (y0 + y1) / 2) / span);
    this.group = Int32Array.from(group);
    this.width = (x1 - x0) / span || 1;
    this.height = (y1 - y0) / span || 1;
    this.order = sorted(this.group, groups).rows;
    const cell = Int32Array.from(this.x, (v, i) => cellOf(v) + CELLS * cellOf(this.y[i]));
    this.grid = sorted(cell, CELLS * CELLS);
    this.shown = new Uint8Array(groups).fill(1);
    this.fit();
  }

  /** colors: one CSS color per group; ink: of marks; ground: behind everything. */
  paint(colors, ink, ground) {
    const known = (color) => { this.pen.fillStyle = "#000"; this.pen.fillStyle = color; return this.pen.fillStyle; };
    Object.assign(this, { ink, page: ground, ground: packed(known(ground)), colors: Uint32Array.from(colors, (color) => packed(known(color))) });
    this.later();
  }

  show(groups) { this.shown.set(groups); this.later(); }
  mark(rows, center = null) { this.marks = rows; this.center = center; this.later(); }

  fit() {
    if (!this.n || !this.canvas.clientWidth) { this.scale = 0; return; }
    this.scale = 0.92 * Math.min(this.canvas.clientWidth / this.width, this.canvas.clientHeight / this.height);
    this.least = this.scale * 0.5;
    this.fitted = this.scale;
    this.tx = this.canvas.clientWidth / 2;
    this.ty = this.canvas.clientHeight / 2;
    this.later();
  }

  resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const { clientWidth: w, clientHeight: h } = this.canvas;
    if (this.canvas.width === Math.round(w * ratio) && this.canvas.height === Math.round(h * ratio)) return;
    this.canvas.width = Math.round(w * ratio);
    this.canvas.height = Math.round(h * ratio);
    this.ratio = ratio;
    this.image = this.pen.createImageData(this.canvas.width || 1, this.canvas.height || 1);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.fit();
    this.draw();
  }

  zoom(by, x, y) {
    if (!this.scale) return;
    const scale = Math.max(this.least, Math.min(this.fitted * 200, this.scale * by));
    this.tx = x - (x - this.tx) * (scale / this.scale);
    this.ty = y - (y - this.ty) * (scale / this.scale);
    this.scale = scale;
    this.later();
  }

  pan(dx, dy) { this.tx += dx; this.ty += dy; this.later(); }

  /** Bring a point to the middle. */
  reach(row) {
    if (this.scale < this.fitted * 2) this.scale = this.fitted * 2;
    this.tx = this.canvas.clientWidth / 2 - this.x[row] * this.scale;
    this.ty = this.canvas.clientHeight / 2 - this.y[row] * this.scale;
    this.later();
  }

  /** The shown point nearest to a place of the canvas, within `reach` pixels; -1 for none. */
  near(px, py, reach = 12) {
    if (!this.scale) return -1;
    const x = (px - this.tx) / this.scale;
    const y = (py - this.ty) / this.scale;
    const r = reach / this.scale;
    let best = -1;
    let least = r * r;
    for (let cy = cellOf(y - r); cy <= cellOf(y + r); cy += 1) {
      for (let cx = cellOf(x - r); cx <= cellOf(x + r); cx += 1) {
        const cell = cx + CELLS * cy;
        for (let at = this.grid.starts[cell]; at < this.grid.starts[cell + 1]; at += 1) {
          const row = this.grid.rows[at];
          const far = (this.x[row] - x) ** 2 + (this.y[row] - y) ** 2;
          if (far < least && this.shown[this.group[row]]) { best = row; least = far; }
        }
      }
    }
    return best;
  }

  place(row) { return [this.x[row] * this.scale + this.tx, this.y[row] * this.scale + this.ty]; }

  later() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  get radius() {
    const room = Math.sqrt((this.canvas.clientWidth * this.canvas.clientHeight) / Math.max(this.n, 1));
    return Math.max(1.4, Math.min(7, 0.24 * room * (this.scale / this.fitted) ** 0.45));
  }

  draw() {
    const { pen, canvas, ratio, pixels } = this;
    if (!this.colors || !ratio) return;
    pixels.fill(this.ground);
    if (!this.scale) return pen.putImageData(this.image, 0, 0);
    const r = this.radius * ratio;
    if (this.disc?.r !== r) this.disc = disc(r);
    const [scale, tx, ty] = [this.scale * ratio, this.tx * ratio, this.ty * ratio];
    const [w, h] = [canvas.width, canvas.height];
    for (let i = 0; i < this.n; i += 1) {
      const row = this.order[i];
      const group = this.group[row];
      if (this.shown[group]) this.set(Math.round(this.x[row] * scale + tx), Math.round(this.y[row] * scale + ty), this.colors[group], w, h);
    }
    pen.putImageData(this.image, 0, 0);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const row of this.marks) this.ring(row, this.radius + 3, 1.5);
    if (this.center !== null) this.ring(this.center, this.radius + 5, 2.5);
    if (this.hovered >= 0) this.ring(this.hovered, this.radius + 3, 1.5);
    if (this.keyed) this.cross();
  }

  /** One disc around a pixel. */
  set(px, py, color, w, h) {
    const { pixels, disc } = this;
    const { reach, dx, dy, cover } = disc;
    if (px < -reach || py < -reach || px >= w + reach || py >= h + reach) return;
    const inside = px >= reach && py >= reach && px < w - reach && py < h - reach;
    for (let k = 0; k < cover.length; k += 1) {
      const x = px + dx[k];
      const y = py + dy[k];
      if (!inside && (x < 0 || y < 0 || x >= w || y >= h)) continue;
      const at = y * w + x;
      pixels[at] = cover[k] === 256 ? color : mixed(pixels[at], color, cover[k]);
    }
  }

  ring(row, r, width) {
    const [px, py] = this.place(row);
    for (const [color, line] of [[this.page, width + 2], [this.ink, width]]) {
      this.pen.beginPath();
      this.pen.arc(px, py, r, 0, 2 * Math.PI);
      this.pen.strokeStyle = color;
      this.pen.lineWidth = line;
      this.pen.stroke();
    }
  }

  cross() {
    const [x, y] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    this.pen.strokeStyle = this.ink;
    this.pen.lineWidth = 1;
    this.pen.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      this.pen.moveTo(x + dx * 5, y + dy * 5);
      this.pen.lineTo(x + dx * 14, y + dy * 14);
    }
    this.pen.stroke();
  }

  hover(row) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.canvas.style.cursor = row >= 0 ? "pointer" : "";
    this.over(row, ...(row >= 0 ? this.place(row) : [0, 0]));
    this.later();
  }

  down(event) {
    if (event.button > 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.pointers.size === 1) this.far = 0;
    this.keyed = false;
  }

  moved(event) {
    const held = this.pointers.get(event.pointerId);
    if (!held) {
      if (event.pointerType === "mouse") this.hover(this.near(event.offsetX, event.offsetY));
      return;
    }
    const [dx, dy] = [event.offsetX - held.x, event.offsetY - held.y];
    this.far += Math.abs(dx) + Math.abs(dy);
    if (this.pointers.size === 1) this.pan(dx, dy);
    else if (this.pointers.size === 2) {
      const other = [...this.pointers.values()].find((p) => p !== held);
      const before = Math.hypot(held.x - other.x, held.y - other.y) || 1;
      const after = Math.hypot(event.offsetX - other.x, event.offsetY - other.y) || 1;
      this.zoom(after / before, (event.offsetX + other.x) / 2, (event.offsetY + other.y) / 2);
      this.pan(dx / 2, dy / 2);
    }
    held.x = event.offsetX;
    held.y = event.offsetY;
    if (this.far > 6) this.hover(-1);
  }

  up(event) {
    const held = this.pointers.delete(event.pointerId);
    if (!held || event.type !== "pointerup" || this.far > 6 || this.pointers.size) return;
    const row = this.near(event.offsetX, event.offsetY, event.pointerType === "mouse" ? 12 : 22);
    if (row >= 0) this.pick(row);
  }

  left() { if (!this.pointers.size) this.hover(-1); }
  blurred() { this.keyed = false; this.hover(-1); this.later(); }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.scale) return;
    const step = event.shiftKey ? 160 : 48;
    const [x, y] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    const act = {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0), ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
      "+": () => this.zoom(1.5, x, y), "=": () => this.zoom(1.5, x, y), "-": () => this.zoom(1 / 1.5, x, y), 0: () => this.fit(), Home: () => this.fit(),
    }[event.key];
    if (!act && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    this.keyed = true;
    if (act) { act(); this.hover(this.near(x, y, FAR)); }
    else {
      const row = this.near(x, y, FAR);
      if (row >= 0) this.pick(row);
    }
    this.later();
  }
}

const cellOf = (v) => Math.max(0, Math.min(CELLS - 1, Math.floor((v + 0.5) * CELLS)));

function ends(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  return [low, high];
}

/** A counting sort: the rows of each key together, and where each key starts. */
function sorted(keys, size) {
  const starts = new Int32Array(size + 1);
  for (const key of keys) starts[key + 1] += 1;
  for (let i = 0; i < size; i += 1) starts[i + 1] += starts[i];
  const next = starts.slice();
  const rows = new Int32Array(keys.length);
  for (let row = 0; row < keys.length; row += 1) { rows[next[keys[row]]] = row; next[keys[row]] += 1; }
  return { starts, rows };
}

/** The pixels of a disc around a pixel's middle: offsets, and how much of each is covered, of 256. */
function disc(r) {
  const reach = Math.ceil(r + 0.5);
  const [dx, dy, cover] = [[], [], []];
  for (let y = -reach; y <= reach; y += 1) {
    for (let x = -reach; x <= reach; x += 1) {
      const part = Math.round(256 * Math.max(0, Math.min(1, r + 0.5 - Math.hypot(x, y))));
      if (part > 0) { dx.push(x); dy.push(y); cover.push(part); }
    }
  }
  return { r, reach, dx: Int32Array.from(dx), dy: Int32Array.from(dy), cover: Uint16Array.from(cover) };
}

/** "#rrggbb" as a pixel of an image: bytes red, green, blue, full, in memory order of every machine browsers run on. */
function packed(color) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
}

/** `part` of 256 of one pixel over another; red and blue are mixed together, as their bits do not meet. */
function mixed(under, over, part) {
  const rest = 256 - part;
  const rb = (((under & 0xff00ff) * rest + (over & 0xff00ff) * part) / 256) & 0xff00ff;
  const g = (((under & 0x00ff00) * rest + (over & 0x00ff00) * part) / 256) & 0x00ff00;
  return (0xff000000 | rb | g) >>> 0;
}
