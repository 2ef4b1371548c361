"use strict";

/* Tables: a heading is a button that sorts by its column. */
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((x) => x.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => compareCells(a.cells[column], b.cells[column]));
      body.append(...(down ? rows.reverse() : rows));
    });
  });
}

function compareCells(a, b) {
  if (a.dataset.value === undefined) {
    return a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
  }
  const number = (cell) => (cell.dataset.value === "" ? -Infinity : Number(cell.dataset.value));
  const [left, right] = [number(a), number(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/* Plots: `var(--name)` in a figure is a colour or font of the style sheet. */
const plots = [...document.querySelectorAll(".plot")].map((place) => ({
  place,
  canvas: place.querySelector(".canvas"),
  figure: JSON.parse(place.querySelector("script").textContent),
}));

function styled(value, style) {
  if (typeof value === "string") {
    return value.replace(/^var\((--[\w-]+)\)$/, (_, name) => style.getPropertyValue(name).trim());
  }
  if (Array.isArray(value)) {
    return value.map((x) => styled(x, style));
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, x]) => [k, styled(x, style)]));
  }
  return value;
}

function put(layout, path, value) {
  const names = path.split(".");
  const last = names.pop();
  names.reduce((inner, name) => inner[name], layout)[last] = value;
}

function draw({ place, canvas, figure }, width) {
  const { traces, layout, views } = styled(figure, getComputedStyle(document.documentElement));
  const pressed = place.querySelector('[data-view][aria-pressed="true"]');
  if (pressed) {
    const view = views[pressed.dataset.view];
    view.y.forEach((y, i) => (traces[i].y = y));
    Object.entries(view.layout).forEach(([path, value]) => put(layout, path, value));
  }
  if (width) {
    layout.width = width;
  }
  return Plotly.react(canvas, traces, layout, {
    responsive: !width,
    displaylogo: false,
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
    toImageButtonOptions: { filename: place.id, scale: 2 },
  });
}

for (const plot of plots) {
  for (const button of plot.place.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => {
      for (const other of plot.place.querySelectorAll("[data-view]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      draw(plot);
    });
  }
}

function drawAll(width) {
  return Promise.all(plots.map((plot) => draw(plot, width)));
}

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
/* Paper is about 18 cm wide between its margins. */
matchMedia("print").addEventListener("change", (event) => drawAll(event.matches ? 680 : undefined));

/* Contents: mark the section that is read. */
const links = new Map(
  [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
);
const inView = new Set();
const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      inView[entry.isIntersecting ? "add" : "delete"](entry.target.id);
    }
    const current = [...links.keys()].find((id) => inView.has(id));
    if (current === undefined) {
      return;
    }
    for (const [id, link] of links) {
      if (id === current) {
        link.setAttribute("aria-current", "true");
      } else {
        link.removeAttribute("aria-current");
      }
    }
  },
  { rootMargin: "-15% 0px -60% 0px" },
);
document.querySelectorAll("main > section").forEach((section) => watcher.observe(section));

/* Pictures: a click shows one in full. */
const viewer = document.getElementById("viewer");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const picture = button.querySelector("img");
    viewer.querySelector("img").src = picture.src;
    viewer.querySelector("img").alt = picture.alt;
    viewer.querySelector("p").textContent = picture.alt;
    viewer.showModal();
  });
}
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) {
    viewer.close();
  }
});
