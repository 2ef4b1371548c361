"use strict";

/* The drawing of the network: colours by run, and what is known of the layer one selects. */
(() => {
  const graph = document.getElementById("drawing-graph");
  if (!graph) {
    return;
  }
  const data = JSON.parse(graph.querySelector("script").textContent);
  const words = data.words;
  const svg = graph.querySelector("svg");
  const stage = graph.querySelector(".stage");
  const facts = document.getElementById("drawing-facts");
  const choice = document.getElementById("drawing-run");
  const lines = [...svg.querySelectorAll(".line")].sort((a, b) => number(a) - number(b));
  const size = [Number(svg.dataset.width), Number(svg.dataset.height)];
  lines.forEach((line) => {
    line.dataset.label = line.getAttribute("aria-label");
  });
  let zoom = 1;
  let chosen = null;

  function number(line) {
    return Number(line.dataset.layer);
  }

  function run() {
    return choice ? Number(choice.value) : 0;
  }

  /* As formats.cosine: never rounded up to 1. */
  function shown(value, digits = 6) {
    return value === null ? "–" : (Math.floor(value * 1e6) / 1e6).toFixed(6).slice(0, digits + 2);
  }

  function short(value) {
    if (value === null) {
      return "–";
    }
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  }

  function percent(share) {
    return share > 0 && share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
  }

  function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  function paint() {
    for (const line of lines) {
      const found = data.layers[number(line)].runs[run()];
      const cosine = found ? found[0] : null;
      const level = cosine === null ? "" : ` c${data.limits.filter((x) => cosine < x).length}`;
      line.setAttribute("class", `line${level}`);
      line.querySelector(".value").textContent = shown(cosine, 4);
      line.setAttribute("aria-label", `${line.dataset.label}, ${words.cosine} ${shown(cosine, 4)}`);
      if (line === chosen) {
        line.classList.add("chosen");
      }
    }
  }

  function worst() {
    const cosine = (line) => data.layers[number(line)].runs[run()]?.[0] ?? Infinity;
    return lines.reduce((a, b) => (cosine(b) < cosine(a) ? b : a));
  }

  function select(line, move) {
    if (chosen) {
      chosen.classList.remove("chosen");
      chosen.setAttribute("tabindex", "-1");
      chosen.removeAttribute("aria-current");
    }
    chosen = line;
    line.classList.add("chosen");
    line.setAttribute("tabindex", "0");
    line.setAttribute("aria-current", "true");
    if (move) {
      reveal(line);
    }
    tell(data.layers[number(line)]);
  }

  function reveal(line) {
    const frame = stage.getBoundingClientRect();
    const place = line.getBoundingClientRect();
    stage.scrollTop += place.top - frame.top - frame.height / 2 + place.height / 2;
    stage.scrollLeft += place.left - frame.left - frame.width / 2 + place.width / 2;
  }

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) {
      made.textContent = text;
    }
    if (kind) {
      made.className = kind;
    }
    return made;
  }

  function rows(list, pairs) {
    for (const [name, value] of pairs) {
      list.append(element("dt", name), element("dd", value));
    }
  }

  function tell(layer) {
    const list = element("dl");
    const inputs = layer.bottoms.map((x) => data.values[x]);
    const outputs = layer.tops.map((x) => data.values[x]);
    if (layer.detail) {
      rows(list, [[words.detail, layer.detail]]);
    }
    rows(list, [
      [words.shape_in, inputs.map((x) => x.shape).join(", ") || "–"],
      [words.shape_out, outputs.map((x) => x.shape).join(", ") || "–"],
    ]);
    data.runs.forEach((one, i) => {
      const found = layer.runs[i];
      const noise = found && found[1] !== null ? `, ${found[1].toFixed(1)} dB` : "";
      rows(list, [[`${words.cosine}, ${one.name}`, found ? `${shown(found[0])}${noise}` : "–"]]);
    });
    const parts = [element("h3"), list];
    parts[0].append(element("code", layer.name), ` ${layer.type}`);
    if (layer.operation.length) {
      const other = fill(words.operation, { names: layer.operation.join(" + ") });
      parts.push(element("p", other, "note"));
    }
    const bits = data.runs.length ? data.runs[run()].bits : "8";
    layer.tops.forEach((x) => {
      const reader = data.readers[x];
      parts.push(...values(data.values[x], words.output, bits, reader?.z[bits] ?? null, reader?.layer, layer));
    });
    if (layer.z[bits]) {
      layer.bottoms.forEach((x, i) => {
        parts.push(...values(data.values[x], words.input, bits, layer.z[bits][i] ?? null, layer.name, layer));
      });
    }
    facts.replaceChildren(...parts);
  }

  /* A value: its numbers, its histogram, and what the quantiser that reads it makes of it. */
  function values(value, title, bits, z, reader, layer) {
    const [least, largest, mean, deviation] = value.numbers.map(short);
    const heading = element("h4");
    heading.append(`${title} `, element("code", value.name));
    const told = element(
      "p",
      fill(words.values, { least, largest, mean, deviation, zeros: percent(value.zeros) }),
    );
    const parts = [heading, told];
    let range = null;
    if (z !== null) {
      const { steps, top } = data.formats[bits];
      range = { steps, top, z, low: z / steps - 1, first: z / steps, last: (z + top) / steps };
      const share = shares(value, range);
      parts.push(
        element(
          "p",
          fill(words.levels, {
            bits,
            reader,
            z,
            least: short(2 ** range.first),
            top: short(2 ** range.last),
            flushed: percent(share.flushed),
            saturated: percent(share.saturated),
          }),
        ),
      );
    } else if (title === words.output) {
      const last = layer.operation.length === 0 || layer.operation.at(-1) === layer.name;
      parts.push(element("p", last ? words.end : words.inside, "note"));
    }
    if (bins(value).length) {
      parts.push(histogram(value, range, bits));
    }
    return parts;
  }

  /* compare/histogram.py: four bins an octave, the mantissa in quarters. */
  function edge(bin) {
    return Math.floor(bin / 4) - 127 + Math.log2(1 + (bin % 4) / 4);
  }

  /* A side without any value is an empty list. */
  function bins(value) {
    const length = Math.max(value.positive.length, value.negative.length);
    return Array.from({ length }, (_, i) => [value.positive[i] ?? 0, value.negative[i] ?? 0]);
  }

  function shares(value, range) {
    let flushed = 0;
    let saturated = 0;
    let all = 0;
    bins(value).forEach(([up, down], i) => {
      const count = up + down;
      const [from, to] = [edge(value.first + i), edge(value.first + i + 1)];
      const part = (x) => Math.min(1, Math.max(0, (x - from) / (to - from)));
      all += count;
      flushed += count * part(range.low);
      saturated += count * (1 - part(range.last + 1 / range.steps));
    });
    const rest = 1 - value.zeros - value.below;
    return { flushed: (all ? (flushed / all) * rest : 0) + value.below, saturated: all ? (saturated / all) * rest : 0 };
  }

  function histogram(value, range, bits) {
    const [width, height, base] = [340, 150, 128];
    const first = Math.min(edge(value.first), range ? range.low : Infinity);
    const last = Math.max(edge(value.first + bins(value).length), range ? range.last + 0.2 : -Infinity);
    const x = (octave) => (8 + ((octave - first) / (last - first)) * (width - 16)).toFixed(1);
    const both = value.negative.some((n) => n > 0);
    const density = (count, i) => count / (edge(value.first + i + 1) - edge(value.first + i));
    const most = Math.max(...value.positive.map(density), ...value.negative.map(density), 1e-9);
    const middle = both ? base / 2 + 4 : base;
    const tall = both ? base / 2 - 8 : base - 10;
    const bars = (counts, sign) =>
      counts
        .map((count, i) => {
          if (!count) {
            return "";
          }
          const [a, b] = [x(edge(value.first + i)), x(edge(value.first + i + 1))];
          return `M${a} ${middle}V${(middle - sign * Math.max(0.7, (density(count, i) / most) * tall)).toFixed(1)}H${b}V${middle}Z`;
        })
        .join("");
    const made = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "histogram", role: "img" });
    made.setAttribute("aria-label", fill(words.histogram, { name: value.name }));
    if (range) {
      const [a, b] = [x(range.first), x(range.last)];
      made.append(draw("rect", { class: "range", x: a, y: 0, width: Math.max(0, b - a), height: base }));
      let ticks = "";
      for (let k = 0; k <= range.top; k += 1) {
        ticks += `M${x((range.z + k) / range.steps)} ${base}v${k % range.steps ? 4 : 7}`;
      }
      made.append(draw("path", { class: "comb", d: ticks, "data-levels": range.top + 1, "data-bits": bits }));
    }
    made.append(draw("path", { class: "up", d: bars(value.positive, 1) }));
    made.append(draw("path", { class: "down", d: bars(value.negative, -1) }));
    made.append(draw("path", { class: "zero", d: `M8 ${middle}H${width - 8}` }));
    const step = Math.max(1, Math.ceil((last - first) / 7));
    for (let octave = Math.ceil(first); octave <= last; octave += step) {
      const label = draw("text", { x: x(octave), y: height - 3, "text-anchor": "middle" });
      label.textContent = short(2 ** octave);
      made.append(label);
    }
    const figure = element("figure");
    figure.append(made, element("figcaption", both ? words.axis : words.positive));
    return figure;
  }

  function draw(name, attributes) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) {
      made.setAttribute(key, value);
    }
    return made;
  }

  function scale(value) {
    const [left, top] = [stage.scrollLeft + stage.clientWidth / 2, stage.scrollTop + stage.clientHeight / 2];
    const before = zoom;
    zoom = Math.min(2.5, Math.max(0.1, value));
    svg.setAttribute("width", size[0] * zoom);
    svg.setAttribute("height", size[1] * zoom);
    stage.scrollLeft = (left * zoom) / before - stage.clientWidth / 2;
    stage.scrollTop = (top * zoom) / before - stage.clientHeight / 2;
  }

  graph.querySelector(".zooms").addEventListener("click", (event) => {
    const kind = event.target.dataset.zoom;
    if (kind === "in") {
      scale(zoom * 1.25);
    } else if (kind === "out") {
      scale(zoom / 1.25);
    } else if (kind === "width") {
      scale((stage.clientWidth - 4) / size[0]);
    } else if (kind === "worst") {
      select(worst(), true);
    }
  });

  svg.addEventListener("click", (event) => {
    const line = event.target.closest(".line");
    if (line && !dragged) {
      select(line, false);
      line.focus({ preventScroll: true });
    }
  });

  /* Arrows walk in execution order; Enter and Space are as a click. */
  svg.addEventListener("keydown", (event) => {
    const at = lines.indexOf(event.target);
    const last = lines.length - 1;
    const to = {
      ArrowDown: Math.min(at + 1, last),
      ArrowRight: Math.min(at + 1, last),
      ArrowUp: Math.max(at - 1, 0),
      ArrowLeft: Math.max(at - 1, 0),
      Home: 0,
      End: last,
      Enter: at,
      " ": at,
    }[event.key];
    if (at < 0 || to === undefined) {
      return;
    }
    event.preventDefault();
    select(lines[to], true);
    lines[to].focus({ preventScroll: true });
  });

  /* The mouse drags the drawing. */
  let held = null;
  let dragged = false;
  stage.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (event.pointerType === "mouse" && event.button === 0) {
      held = [event.clientX, event.clientY, stage.scrollLeft, stage.scrollTop];
    }
  });
  window.addEventListener("pointermove", (event) => {
    if (held) {
      const [dx, dy] = [event.clientX - held[0], event.clientY - held[1]];
      dragged = dragged || Math.hypot(dx, dy) > 4;
      if (dragged) {
        stage.scrollLeft = held[2] - dx;
        stage.scrollTop = held[3] - dy;
      }
    }
  });
  window.addEventListener("pointerup", () => {
    held = null;
  });

  choice?.addEventListener("change", () => {
    paint();
    if (chosen) {
      tell(data.layers[number(chosen)]);
    }
  });

  /* Names of layers elsewhere on the page lead here. */
  const byName = new Map(data.layers.map((layer, i) => [layer.name, lines[i]]));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-layer]");
    const line = link && byName.get(link.dataset.layer);
    if (line) {
      event.preventDefault();
      document.getElementById("drawing").scrollIntoView();
      select(line, true);
      line.focus({ preventScroll: true });
    }
  });

  scale(Math.min(1, Math.max(0.72, stage.clientWidth / size[0])));
  paint();
  select(worst(), true);
})();
