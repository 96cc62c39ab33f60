// Shows the image of the map's point that is pointed at: asked of the server one by one, when
// somebody stays on a point, so that the page itself carries none. map.js says which.

const WAIT_MS = 120;
const SIDE = 148;
const images = new Map(); // by run and row, as long as the page is open

export default function ({ data, parentElement, setStateValue }) {
  const frame = parentElement.querySelector(".frame") ?? made(parentElement);
  if (data.image) images.set(data.run + data.row, data.image);
  show(frame);
  const listen = ({ detail }) => {
    clearTimeout(frame.timer);
    frame.key = detail && `${detail.run}${detail.row}`;
    frame.hidden = !detail;
    if (!detail) return;
    frame.style.left = `${Math.max(8, Math.min(detail.left + 16, innerWidth - SIDE - 16))}px`;
    frame.style.top = `${Math.max(8, detail.top - SIDE - 40)}px`;
    frame.querySelector("span").textContent = detail.text;
    show(frame);
    if (!images.has(frame.key)) {
      frame.timer = setTimeout(() => setStateValue("row", detail.row), WAIT_MS);
    }
  };
  window.removeEventListener("map-image", frame.listen);
  frame.listen = listen;
  window.addEventListener("map-image", listen);
  return () => window.removeEventListener("map-image", frame.listen);
}

function made(parent) {
  const frame = document.createElement("div");
  const image = document.createElement("img");
  image.alt = "";
  frame.className = "frame";
  frame.hidden = true;
  frame.append(image, document.createElement("span"));
  parent.append(frame);
  return frame;
}

function show(frame) {
  const image = frame.querySelector("img");
  const source = images.get(frame.key);
  image.hidden = !source;
  if (source) image.src = source;
}
