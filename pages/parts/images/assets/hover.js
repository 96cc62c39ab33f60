// Shows the image of the map's point under the pointer: asked of the server one by one, when
// somebody stays on a point, so that the page itself carries none.

const WAIT_MS = 120;
const SIDE = 148;
const images = new Map(); // by run and row, as long as the page is open

export default function ({ data, parentElement, setStateValue }) {
  const frame = parentElement.querySelector("img") ?? made(parentElement);
  if (data.image) images.set(data.run + data.row, data.image);
  if (frame.dataset.row === String(data.row)) show(frame, data.run);

  const attach = () => {
    const chart = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (!chart?.on || chart.dataset.hover === data.run) return;
    chart.dataset.hover = data.run;
    let timer;
    chart.on("plotly_hover", ({ points, event }) => {
      clearTimeout(timer);
      const row = points[0].customdata;
      frame.dataset.row = row;
      frame.style.left = `${Math.min(event.clientX + 16, innerWidth - SIDE - 16)}px`;
      frame.style.top = `${Math.max(8, event.clientY - SIDE - 16)}px`;
      frame.hidden = true;
      if (images.has(data.run + row)) show(frame, data.run);
      else timer = setTimeout(() => setStateValue("row", row), WAIT_MS);
    });
    chart.on("plotly_unhover", () => {
      clearTimeout(timer);
      delete frame.dataset.row;
      frame.hidden = true;
    });
  };
  attach();
  const watching = setInterval(attach, 1000); // the chart comes and goes with its colours
  return () => clearInterval(watching);
}

function made(parent) {
  const frame = document.createElement("img");
  frame.hidden = true;
  frame.alt = "";
  Object.assign(frame.style, {
    position: "fixed", zIndex: 1000, width: `${SIDE}px`, pointerEvents: "none",
    borderRadius: "4px", boxShadow: "0 2px 8px rgba(0, 0, 0, 0.4)",
  });
  parent.append(frame);
  return frame;
}

function show(frame, run) {
  const image = images.get(run + frame.dataset.row);
  if (!image) return;
  frame.src = image;
  frame.hidden = false;
}
