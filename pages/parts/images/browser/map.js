// A map of images on a canvas: thousands of points within milliseconds, where SVG takes seconds
// and WebGL needs what the policy of the pages forbids. Names come from files of strangers, so they
// are only ever set as text. What is pointed at is told to hover.js by an event of the window.

const RADIUS = 3; // pixels
const MARGIN = 14;
const NEAR = 12; // pixels from a point within which it is meant
const FINGER = 22;
const FADED = 0.13;
const MAX_CORNERS = 200;
const MAX_ZOOM = 40;
const STEP = 1.5; // of a press of a zoom button

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function button(text, label, act) {
  const made = element("button", { type: "button", textContent: text, onclick: act });
  made.setAttribute("aria-label", label);
  made.title = label;
  return made;
}

function built(map) {
  map.legend = element("div", { className: "legend" });
  map.canvas = element("canvas", { tabIndex: 0 });
  map.canvas.setAttribute("role", "application");
  map.said = element("div", { className: "said" });
  map.said.setAttribute("aria-live", "polite");
  map.moving = button("✥", "Move the map by dragging", () => setMoving(map, !map.isMoving));
  const tools = element(
    "div", { className: "tools" }, map.moving,
    button("+", "Closer", () => zoom(map, STEP)),
    button("−", "Farther", () => zoom(map, 1 / STEP)),
    button("⤢", "The whole map", () => whole(map)),
  );
  map.stage = element("div", { className: "stage" }, map.canvas, tools);
  map.root.append(map.legend, map.stage, map.said);
  new ResizeObserver(() => sized(map)).observe(map.stage);
  new MutationObserver(() => draw(map)).observe(document.documentElement, { attributes: true });
  const on = (name, act) => map.canvas.addEventListener(name, (event) => act(map, event));
  on("pointerdown", onDown);
  on("pointermove", onMove);
  on("pointerup", onUp);
  on("pointercancel", onCancel);
  on("pointerleave", (map) => !map.drag && point(map, null));
  on("blur", (map) => point(map, null));
  on("dblclick", (map) => whole(map));
  on("wheel", onWheel);
  on("keydown", onKey);
  setMoving(map, false);
}

// --- where points are ------------------------------------------------------------------------

function sized(map) {
  const width = map.stage.clientWidth;
  const height = Math.min(560, Math.max(300, width));
  const dots = window.devicePixelRatio || 1;
  if (!width || (map.width === width && map.dots === dots)) return;
  Object.assign(map, { width, height, dots });
  Object.assign(map.canvas, { width: width * dots, height: height * dots });
  map.canvas.style.height = height + "px";
  draw(map);
}

function fit(map) {
  const wide = Math.max(1, ...map.data.x);
  const high = Math.max(1, ...map.data.y);
  const [width, height] = [map.width - 2 * MARGIN, map.height - 2 * MARGIN];
  return { wide, high, scale: Math.min(width / wide, height / high) };
}

function onScreen(map, x, y) {
  const { wide, high, scale } = map.fit;
  const by = scale * map.view.zoom;
  return [
    map.width / 2 + (x - wide / 2) * by + map.view.x,
    map.height / 2 - (y - high / 2) * by + map.view.y,
  ];
}

function onMap(map, left, top) {
  const { wide, high, scale } = map.fit;
  const by = scale * map.view.zoom;
  return [
    (left - map.width / 2 - map.view.x) / by + wide / 2,
    high / 2 - (top - map.height / 2 - map.view.y) / by,
  ];
}

function nearest(map, left, top, within) {
  let best = null;
  let least = within;
  map.places.forEach(([x, y], at) => {
    const away = Math.hypot(x - left, y - top);
    if (away < least) [best, least] = [at, away];
  });
  return best;
}

function isWithin(x, y, corners) {
  let inside = false;
  corners.forEach(([x1, y1], at) => {
    const [x2, y2] = corners[(at || corners.length) - 1];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  });
  return inside;
}

// --- drawing ---------------------------------------------------------------------------------

// In a mixed order that is always the same: no set lies over the others because it came last.
function mixed(count) {
  const key = (at) => Math.imul(at + 1, 2654435761) >>> 0;
  return [...Array(count).keys()].sort((one, other) => key(one) - key(other));
}

function mark(pen, shape, x, y, radius) {
  pen.beginPath();
  if (shape === "diamond") {
    const reach = radius * 1.35;
    pen.moveTo(x, y - reach);
    pen.lineTo(x + reach, y);
    pen.lineTo(x, y + reach);
    pen.lineTo(x - reach, y);
    pen.closePath();
  } else {
    pen.arc(x, y, shape === "ring" ? radius - 0.6 : radius, 0, 2 * Math.PI);
  }
  if (shape === "ring") pen.stroke();
  else pen.fill();
}

function draw(map) {
  if (!map.width) return;
  const { data, canvas } = map;
  map.fit = fit(map);
  map.places = data.rows.map((_, at) => onScreen(map, data.x[at], data.y[at]));
  const pen = canvas.getContext("2d");
  pen.setTransform(map.dots, 0, 0, map.dots, 0, 0);
  pen.clearRect(0, 0, map.width, map.height);
  const words = getComputedStyle(canvas).color;
  pen.lineWidth = data.scale ? 0.6 : 1.3;
  for (const at of map.order) {
    const look = data.looks[data.look[at]];
    const strong = !map.spotlit.size || map.spotlit.has(data.look[at]);
    pen.globalAlpha = strong && (!map.selected || map.selected.has(at)) ? 0.8 : FADED;
    pen.fillStyle = pen.strokeStyle = look.colour;
    mark(pen, look.shape, ...map.places[at], RADIUS);
    if (!data.scale) continue;
    pen.globalAlpha *= 0.5; // an edge: one end of a scale is faint on any page
    pen.strokeStyle = words;
    pen.stroke();
  }
  Object.assign(pen, { globalAlpha: 1, lineWidth: 1.3, strokeStyle: words });
  outline(map, pen);
  for (const at of [map.pointed, ...(map.selected?.size === 1 ? map.selected : [])]) {
    if (at !== null) mark(pen, "ring", ...map.places[at], RADIUS + 4);
  }
  canvas.dataset.points = data.rows.length;
}

function outline(map, pen) {
  const corners = map.drag?.corners ?? map.area;
  if (!corners || corners.length < 2) return;
  pen.setLineDash([4, 3]);
  pen.beginPath();
  corners.forEach(([x, y]) => pen.lineTo(...onScreen(map, x, y)));
  pen.closePath();
  pen.stroke();
  pen.setLineDash([]);
}

function showLegend(map) {
  const { looks, scale } = map.data;
  map.legend.replaceChildren();
  map.legend.classList.toggle("scale", Boolean(scale));
  map.legend.setAttribute("aria-label", "Bring out");
  map.legend.setAttribute("role", "group");
  const items = looks.map((look, at) => {
    const sign = element("span", { className: "sign " + look.shape });
    sign.style.setProperty("--colour", look.colour);
    const item = element("button", { type: "button" }, sign, scale ? "" : look.name);
    if (scale) item.setAttribute("aria-label", look.name);
    item.title = scale ? look.name : "Bring out these points; again to see all";
    item.onclick = () => {
      if (!map.spotlit.delete(at)) map.spotlit.add(at);
      pressed();
      draw(map);
    };
    return item;
  });
  const pressed = () => items.forEach((item, at) => {
    item.setAttribute("aria-pressed", map.spotlit.has(at));
  });
  pressed();
  map.legend.append(...items);
  for (const text of scale ?? []) {
    map.legend.append(element("span", { className: "end", textContent: text }));
  }
}

// --- what is done ----------------------------------------------------------------------------

function setMoving(map, moving) {
  map.isMoving = moving;
  map.moving.setAttribute("aria-pressed", moving);
  map.canvas.classList.toggle("moving", moving);
}

function whole(map) {
  map.view = { zoom: 1, x: 0, y: 0 };
  draw(map);
}

function zoom(map, by, left = map.width / 2, top = map.height / 2) {
  const to = Math.min(MAX_ZOOM, Math.max(1, map.view.zoom * by));
  const ratio = to / map.view.zoom;
  const shift = (from, side, at) => at - side / 2 - (at - side / 2 - from) * ratio;
  map.view = {
    zoom: to, x: shift(map.view.x, map.width, left), y: shift(map.view.y, map.height, top),
  };
  if (to === 1) map.view = { zoom: 1, x: 0, y: 0 };
  draw(map);
}

// Point at one image, or at none: its name here, its picture by hover.js.
function point(map, at) {
  if (map.pointed === at) return;
  map.pointed = at;
  draw(map);
  const detail = at === null ? null : told(map, at);
  map.said.textContent = detail?.text ?? "";
  window.dispatchEvent(new CustomEvent("map-image", { detail }));
}

function told(map, at) {
  const { data } = map;
  const [x, y] = map.places[at];
  const box = map.canvas.getBoundingClientRect();
  const text = `${data.classes[data.predicted[at]]}, ${data.sure[at]} %`;
  return { run: data.run, row: data.rows[at], left: box.left + x, top: box.top + y, text };
}

function choose(map, at) {
  map.area = null;
  map.selected = at === null ? null : new Set([at]);
  send(map, at === null ? null : { row: map.data.rows[at] });
}

function chooseArea(map, corners) {
  const every = Math.ceil(corners.length / MAX_CORNERS);
  map.area = corners.filter((_, at) => at % every === 0);
  const { x, y, rows } = map.data;
  const within = [...rows.keys()].filter((at) => isWithin(x[at], y[at], map.area));
  map.selected = new Set(within);
  send(map, { area: map.area });
}

function send(map, what) {
  draw(map);
  map.setStateValue("selected", what && { ...what, generation: map.generation });
}

// --- pointer, wheel and keys -----------------------------------------------------------------

function onDown(map, event) {
  if (event.button !== 0) return;
  map.canvas.setPointerCapture(event.pointerId);
  const at = [event.offsetX, event.offsetY];
  const moves = map.isMoving || event.shiftKey;
  map.drag = { from: at, last: at, far: false, corners: moves ? null : [onMap(map, ...at)] };
}

function onMove(map, event) {
  const at = [event.offsetX, event.offsetY];
  const { drag } = map;
  if (!drag) return point(map, nearest(map, ...at, NEAR));
  drag.far ||= Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > 5;
  if (!drag.far) return;
  point(map, null);
  if (drag.corners) drag.corners.push(onMap(map, ...at));
  else {
    map.view.x += at[0] - drag.last[0];
    map.view.y += at[1] - drag.last[1];
  }
  drag.last = at;
  draw(map);
}

function onUp(map, event) {
  const { drag } = map;
  map.drag = null;
  if (!drag) return;
  if (drag.far) {
    if (drag.corners?.length > 2) chooseArea(map, drag.corners);
    return;
  }
  const reach = event.pointerType === "touch" ? FINGER : NEAR;
  const at = nearest(map, ...drag.from, reach);
  if (at !== null || map.selected) choose(map, at);
}

function onCancel(map) {
  map.drag = null; // the finger scrolls the page
  draw(map);
}

function onWheel(map, event) {
  if (!event.ctrlKey && !event.metaKey) return; // else the page could not be scrolled past the map
  event.preventDefault();
  zoom(map, Math.exp(-event.deltaY / 200), event.offsetX, event.offsetY);
}

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function stepped(map, [dx, dy]) {
  if (map.pointed === null) return nearest(map, map.width / 2, map.height / 2, Infinity);
  const [x0, y0] = map.places[map.pointed];
  let best = map.pointed;
  let least = Infinity;
  map.places.forEach(([x, y], at) => {
    const ahead = (x - x0) * dx + (y - y0) * dy;
    const aside = Math.abs((x - x0) * dy) + Math.abs((y - y0) * dx);
    if (ahead > 0 && aside <= ahead && ahead + aside < least) [best, least] = [at, ahead + aside];
  });
  return best;
}

function onKey(map, event) {
  const acts = {
    "+": () => zoom(map, STEP), "-": () => zoom(map, 1 / STEP), "0": () => whole(map),
    Escape: () => choose(map, null),
    Enter: () => map.pointed !== null && choose(map, map.pointed),
  };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in DIRECTIONS) point(map, stepped(map, DIRECTIONS[event.key]));
  else if (event.key in acts) acts[event.key]();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

const maps = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  let map = maps.get(parentElement);
  if (!map) {
    map = { root: parentElement, data, view: { zoom: 1, x: 0, y: 0 }, pointed: null, drag: null };
    maps.set(parentElement, map);
    map.order = [];
    map.spotlit = new Set();
    built(map);
  }
  const text = JSON.stringify(data.looks);
  if (map.looks !== text) map.spotlit = new Set();
  if (map.generation !== data.generation) {
    Object.assign(map, { selected: null, area: null, pointed: null });
    map.view = { zoom: 1, x: 0, y: 0 };
    map.order = mixed(data.rows.length);
  }
  Object.assign(map, { data, looks: text, generation: data.generation, setStateValue });
  map.canvas.setAttribute("aria-label", data.label);
  showLegend(map);
  sized(map);
  draw(map);
}
