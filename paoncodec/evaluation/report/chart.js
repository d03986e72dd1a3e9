/* Curves: one chart, several views of it, and buttons that show and hide codecs. */
(() => {
  const DASHES = { "-": "", "--": "7 4", ":": "2 3.5", "-.": "8 3 2 3" };
  // matplotlib's markers → a path around (0, 0), and whether it is filled.
  const circle = "M4.5 0A4.5 4.5 0 1 1-4.5 0A4.5 4.5 0 1 1 4.5 0Z";
  const MARKS = {
    o: [circle, true],
    s: ["M-4-4H4V4H-4Z", true],
    D: ["M0-5.5L5.5 0L0 5.5L-5.5 0Z", true],
    d: ["M0-5.5L3.5 0L0 5.5L-3.5 0Z", true],
    v: ["M-5-4H5L0 5Z", true],
    "^": ["M-5 4H5L0-5Z", true],
    "<": ["M4-5V5L-5 0Z", true],
    ">": ["M-4-5V5L5 0Z", true],
    "*": ["M0-6L1.6-1.8L6-1.8L2.5 1L3.8 5.5L0 2.8L-3.8 5.5L-2.5 1L-6-1.8L-1.6-1.8Z", true],
    P: ["M-1.8-5H1.8V-1.8H5V1.8H1.8V5H-1.8V1.8H-5V-1.8H-1.8Z", true],
    p: ["M0-5.2L5-1.6L3.1 4.3L-3.1 4.3L-5-1.6Z", true],
    h: ["M0-5.4L4.7-2.7V2.7L0 5.4L-4.7 2.7V-2.7Z", true],
    H: ["M-5.4 0L-2.7-4.7H2.7L5.4 0L2.7 4.7H-2.7Z", true],
    8: ["M-2-5H2L5-2V2L2 5H-2L-5 2V-2Z", true],
    X: ["M-5-3L-3-5L0-2L3-5L5-3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z", true],
    x: ["M-4-4L4 4M4-4L-4 4", false],
    "+": ["M-5 0H5M0-5V5", false],
    1: ["M0 0V5M0 0L-4.5-3M0 0L4.5-3", false],
    2: ["M0 0V-5M0 0L-4.5 3M0 0L4.5 3", false],
  };
  const hidden = new Set();
  const place = $("chart");
  const tip = make("div", { class: "tip", role: "status", hidden: "" });
  let view = null;

  const views = data.metrics.map(({ key, axis }) => [key, key === "psnr" ? "PSNR" : "MS-SSIM", axis]);
  const saving = data.codecs.some((codec) => codec.savings.length);
  if (saving) views.push(["saved", "Savings", ""]);

  /** The points of a codec in the view: x, y and, where they are measured ones, the point. */
  function points(codec) {
    if (view === "saved") return codec.savings.map(([x, y]) => ({ x, y }));
    return codec.points
      .filter((point) => typeof point[view] === "number")
      .map((point) => ({ x: point.bpp, y: point[view], point }));
  }

  /** Limits on what matters most, as on the plots of `paoncodec plot`. */
  function limits(shown) {
    const of = (kinds) => shown.filter((curve) => kinds.includes(curve.codec.kind) && curve.points.length);
    const models = of(["model"]);
    const measured = of(["model", "peer"]);
    const main = [models, measured, shown].find((curves) => curves.length) || [];
    const xs = main.flatMap((curve) => curve.points.map((p) => p.x));
    if (view === "saved") {
      const ys = shown.flatMap((curve) => curve.points.map((p) => p.y)).concat(0);
      const all = shown.flatMap((curve) => curve.points.map((p) => p.x));
      return [spread(all, 0.02, 1), spread(ys, 0.06, 5)];
    }
    const right = Math.max(...xs, 0) * (xs.length > 1 ? 1.08 : 2) || 1;
    const ys = (measured.length ? measured : main)
      .flatMap((curve) => curve.points.filter((p) => p.x <= right).map((p) => p.y));
    return [[0, right], spread(ys, 0.05, 4)];
  }

  function spread(values, part, least) {
    if (!values.length) return [0, 1];
    const low = Math.min(...values), high = Math.max(...values);
    const margin = (high - low) * part || least;
    return [low - margin, high + margin];
  }

  /** Round numbers within limits, about `count` of them. */
  function ticks([low, high], count) {
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= raw);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high + 1e-9; k++) found.push(k * step);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return found.map((value) => [value, value.toFixed(digits).replace("-", "−")]);
  }

  function render() {
    const width = Math.max(280, place.clientWidth);
    const height = Math.round(Math.min(520, Math.max(300, width * 0.55)));
    const box = { left: 46, right: width - 10, top: 12, bottom: height - 42 };
    const shown = data.codecs
      .map((codec, index) => ({ codec, index, points: points(codec) }))
      .filter((curve) => !hidden.has(curve.index) && curve.points.length);
    const [xs, ys] = limits(shown);
    const x = (v) => box.left + ((v - xs[0]) / (xs[1] - xs[0])) * (box.right - box.left);
    const y = (v) => box.bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (box.bottom - box.top);
    const axis = views.find(([key]) => key === view)[2];
    const names = view === "saved" ? ["PSNR (RGB), dB", `rate saved against ${data.reference}, %`] : ["bits per pixel", axis];
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${names[1]} over ${names[0]}` });
    svg.append(draw("defs", {}, draw("clipPath", { id: "inside" },
      draw("rect", { x: box.left, y: box.top - 6, width: box.right - box.left + 6, height: box.bottom - box.top + 6 }))));
    for (const [value, text] of ticks(xs, width / 95)) {
      svg.append(draw("line", { class: "grid", x1: x(value), x2: x(value), y1: box.top, y2: box.bottom }),
        draw("text", { x: x(value), y: box.bottom + 17, "text-anchor": "middle" }, text));
    }
    for (const [value, text] of ticks(ys, height / 60)) {
      svg.append(draw("line", { class: view === "saved" && value === 0 ? "axis" : "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
        draw("text", { x: box.left - 7, y: y(value) + 4, "text-anchor": "end" }, text));
    }
    svg.append(draw("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
      draw("text", { x: box.right, y: height - 6, "text-anchor": "end" }, names[0]),
      draw("text", { x: box.left + 8, y: box.top + 8 }, names[1]));
    const curves = draw("g", { "clip-path": "url(#inside)" });
    // The first is what the page is about: it lies above the others.
    for (const curve of [...shown].reverse()) curves.append(drawn(curve, x, y));
    const spot = draw("circle", { r: 9, fill: "none", stroke: "#1c1b1a", "stroke-width": 1.5, visibility: "hidden" });
    svg.append(curves, spot);
    tip.hidden = true;
    place.replaceChildren(svg, tip);
    hover(svg, spot, shown, x, y, { width, height, box });
  }

  function drawn({ codec, index, points: list }, x, y) {
    const group = draw("g", { "data-codec": index, "data-name": codec.name });
    const heavy = codec.kind !== "anchor";
    if (list.length > 1) {
      group.append(draw("path", {
        d: "M" + list.map((p) => `${x(p.x).toFixed(1)} ${y(p.y).toFixed(1)}`).join("L"),
        fill: "none", stroke: codec.colour, "stroke-width": heavy ? 2.2 : 1.3,
        "stroke-dasharray": DASHES[codec.dash] || "", "stroke-linejoin": "round",
      }));
    }
    const every = view === "saved" ? Math.max(1, Math.floor(list.length / 6)) : 1;
    list.forEach((p, i) => {
      if (i % every === 0) group.append(mark(codec, x(p.x), y(p.y), heavy ? 1 : 0.8));
    });
    return group;
  }

  function mark(codec, x, y, scale) {
    const [d, filled] = MARKS[codec.marker] || MARKS.o;
    return draw("path", {
      d, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${scale})`,
      fill: filled ? codec.colour : "none", stroke: filled ? "#fff" : codec.colour, "stroke-width": filled ? 0.8 : 1.6,
    });
  }

  /** The nearest point to the pointer says what it is. */
  function hover(svg, spot, shown, x, y, { width, height, box }) {
    const all = shown.flatMap((curve) => curve.points.map((p) => ({ ...p, codec: curve.codec, px: x(p.x), py: y(p.y) })))
      .filter((p) => p.px <= box.right + 6 && p.py >= box.top - 6 && p.py <= box.bottom + 6);
    const leave = () => { tip.hidden = true; spot.setAttribute("visibility", "hidden"); };
    const move = (event) => {
      const frame = svg.getBoundingClientRect();
      const at = [(event.clientX - frame.left) * (width / frame.width), (event.clientY - frame.top) * (height / frame.height)];
      let best = null, distance = 48;
      for (const p of all) {
        const d = Math.hypot(p.px - at[0], p.py - at[1]);
        if (d < distance) [best, distance] = [p, d];
      }
      if (!best) return leave();
      tip.replaceChildren(make("strong", {}, best.codec.name), ...said(best).flatMap((line) => [line, make("br")]));
      tip.hidden = false;
      const right = best.px > width * 0.6;
      tip.style.left = right ? "auto" : `${(best.px / width) * 100 + 2}%`;
      tip.style.right = right ? `${100 - (best.px / width) * 100 + 2}%` : "auto";
      tip.style.top = `${(Math.min(best.py, height - 120) / height) * 100}%`;
      spot.setAttribute("cx", best.px);
      spot.setAttribute("cy", best.py);
      spot.setAttribute("visibility", "visible");
    };
    svg.addEventListener("pointermove", move);
    svg.addEventListener("pointerdown", move);
    svg.addEventListener("pointerleave", leave);
  }

  function said({ x, y, point }) {
    if (!point) return [`${x.toFixed(2)} dB`, `${signed(y, 1)} % rate saved`];
    const lines = [`${x.toFixed(4)} bpp`, `${y.toFixed(3)} dB`];
    if (point.quality !== null) lines.unshift(`quality ${+point.quality.toFixed(2)}`);
    if (point.bytes) lines.push(`${Math.round(point.bytes).toLocaleString("en")} bytes`);
    return lines;
  }

  $("legend").append(...data.codecs.map((codec, index) => {
    const sample = draw("svg", { width: 30, height: 14, viewBox: "0 0 30 14", "aria-hidden": "true" },
      draw("path", { d: "M1 7H29", stroke: codec.colour, "stroke-width": codec.kind === "anchor" ? 1.3 : 2.2, "stroke-dasharray": DASHES[codec.dash] || "" }),
      mark(codec, 15, 7, codec.kind === "anchor" ? 0.8 : 1));
    const button = make("button", { type: "button", "aria-pressed": "true", "data-codec": index }, sample, codec.name);
    button.addEventListener("click", () => {
      if (!hidden.delete(index)) hidden.add(index);
      button.setAttribute("aria-pressed", String(!hidden.has(index)));
      render();
    });
    return button;
  }));
  tabs($("views"), views, views[0][0], (key) => { view = key; render(); });
  const published = data.codecs.some((codec) => codec.kind === "anchor");
  $("chart-note").textContent = "bpp counts every byte of the files; PSNR is of 8-bit RGB; both are means over the pictures." +
    (published ? " Thin lines are published curves, not measured here." : "") +
    otherPictures();
  new ResizeObserver(render).observe(place);
})();
