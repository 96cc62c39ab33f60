// A grid of images: one tab stop, arrow keys to move, Enter to open, Space to select.
// What a tile says comes from files of strangers, so it is only ever set as text.

const PAUSE_MS = 150; // before a selection is sent, so that quick clicks are one

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function tileOf(tile, place, grid) {
  const item = element("li", ["tile", tile.state, tile.mark && "marked"].filter(Boolean).join(" "));
  const frame = element("div", "frame");
  const link = element("a");
  link.href = tile.href;
  link.dataset.place = place;
  link.setAttribute("aria-label", tile.alt);
  link.tabIndex = place === grid.focus ? 0 : -1;
  if (tile.src) {
    const image = element("img");
    image.src = tile.src;
    image.alt = tile.name;
    image.loading = "lazy";
    link.append(image);
  } else {
    link.append(element("span", "lost", tile.lost));
  }
  frame.append(link);
  if (tile.badge) frame.append(element("span", "badge", tile.badge));
  if (tile.mark) frame.append(element("span", "badge mark", "⚑ " + tile.mark));
  if (grid.selectable) {
    const pick = element("label", "pick");
    const box = element("input");
    box.type = "checkbox";
    box.tabIndex = link.tabIndex;
    box.dataset.place = place;
    box.setAttribute("aria-label", "Select " + tile.name);
    pick.append(box);
    frame.append(pick);
  }
  const words = element("div", "words");
  words.append(element("span", "first", tile.first), element("span", "second", tile.second));
  words.title = tile.alt;
  item.append(frame, words);
  return item;
}

function draw(grid, data) {
  const text = JSON.stringify([data.tiles, data.size, data.label]);
  if (text === grid.drawn) return show(grid); // a tile that has the focus stays
  grid.drawn = text;
  const focused = grid.list?.contains(grid.root.activeElement ?? document.activeElement);
  const list = element("ul", "grid");
  list.setAttribute("aria-label", data.label);
  list.style.setProperty("--tile", data.size + "px");
  grid.focus = Math.min(grid.focus, Math.max(0, data.tiles.length - 1));
  data.tiles.forEach((tile, place) => list.append(tileOf(tile, place, grid)));
  grid.root.querySelector("ul")?.remove();
  grid.root.append(list);
  grid.list = list;
  show(grid);
  if (focused) list.children[grid.focus]?.querySelector("a").focus();
}

function show(grid) {
  [...grid.list.children].forEach((item, place) => {
    const picked = grid.picked.has(grid.tiles[place].row);
    item.classList.toggle("picked", picked);
    const box = item.querySelector("input");
    if (box) box.checked = picked;
  });
}

function send(grid) {
  clearTimeout(grid.timer);
  grid.timer = setTimeout(() => {
    const rows = grid.tiles.map((tile) => tile.row).filter((row) => grid.picked.has(row));
    grid.setStateValue("selected", { generation: grid.generation, rows });
  }, PAUSE_MS);
}

function pick(grid, place, wanted, range) {
  const [from, to] = range && grid.last !== null ? [grid.last, place] : [place, place];
  for (let at = Math.min(from, to); at <= Math.max(from, to); at++) {
    const row = grid.tiles[at].row;
    if (wanted) grid.picked.add(row);
    else grid.picked.delete(row);
  }
  grid.last = place;
  show(grid);
  send(grid);
}

function focusOn(grid, place) {
  const items = [...grid.list.children];
  if (place < 0 || place >= items.length) return;
  for (const [at, stop] of [[grid.focus, -1], [place, 0]]) {
    items[at]?.querySelectorAll("a, input").forEach((one) => (one.tabIndex = stop));
  }
  grid.focus = place;
  items[place].querySelector("a").focus();
  items[place].scrollIntoView({ block: "nearest" });
}

function columns(grid) {
  const items = [...grid.list.children];
  const second = items.findIndex((item) => item.offsetTop > items[0].offsetTop);
  return second < 0 ? items.length : second;
}

function onKey(grid, event) {
  const place = Number(event.target.dataset.place);
  if (Number.isNaN(place)) return;
  const last = grid.tiles.length - 1;
  const steps = {
    ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: last,
    ArrowUp: place - columns(grid), ArrowDown: place + columns(grid),
  };
  const selected = grid.picked.has(grid.tiles[place].row);
  if (event.key in steps) focusOn(grid, steps[event.key]);
  else if (!grid.selectable) return;
  else if (event.key === " " && event.target.tagName === "A") {
    pick(grid, place, !selected, event.shiftKey);
  } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
    grid.tiles.forEach((tile) => grid.picked.add(tile.row));
    show(grid);
    send(grid);
  } else if (event.key === "Escape") {
    grid.picked.clear();
    show(grid);
    send(grid);
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

function onClick(grid, event) {
  const target = event.target.closest("a, input");
  if (!target) return;
  const place = Number(target.dataset.place);
  if (target.tagName === "INPUT") {
    pick(grid, place, target.checked, event.shiftKey);
  } else if (event.shiftKey && grid.selectable) {
    event.preventDefault();
    pick(grid, place, true, true);
  } else if (!event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    grid.setTriggerValue("opened", grid.tiles[place].row);
  }
}

const grids = new WeakMap();

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  let grid = grids.get(parentElement);
  if (!grid) {
    grid = { root: parentElement, picked: new Set(), focus: 0, last: null, generation: null };
    grids.set(parentElement, grid);
    parentElement.addEventListener("keydown", (event) => onKey(grid, event));
    parentElement.addEventListener("click", (event) => onClick(grid, event));
  }
  Object.assign(grid, { tiles: data.tiles, selectable: data.selectable, setStateValue, setTriggerValue });
  if (grid.generation !== data.generation) {
    clearTimeout(grid.timer);
    grid.generation = data.generation;
    grid.picked = new Set(data.selected);
    grid.last = null;
  }
  draw(grid, data);
}
