/* Pictures: a slider between two versions, and the same detail of all of them. */
(() => {
  const shown = data.gallery;
  $("gallery-note").textContent = data.gallery_note;
  $("pictures").hidden = !shown.length;
  if (!shown.length) return;

  const slider = $("slider");
  const ZOOMS = [1, 2, 4, 8];
  let picture = shown[0], split = 50, zoom = 4;
  let centre = [0.5, 0.5]; // of the detail, as parts of width and height
  let panes = [];

  const nameOf = (version) => (version.codec === null ? "original" : data.codecs[version.codec].name);
  const rateOf = (version) => (version.codec === null ? "" : `${version.bpp.toFixed(3)} bpp, ${figure(version.psnr, 2)} dB`);

  function choosePicture(index) {
    picture = shown[index];
    const entries = picture.versions.map((version, i) => [i, nameOf(version)]);
    const [left, right] = [$("left"), $("right")].map((select) => Number(select.value) || 0);
    const fits = (i) => i < entries.length;
    const fresh = left === right;
    fill($("left"), entries, fresh || !fits(left) ? 1 : left);
    fill($("right"), entries, fresh || !fits(right) ? Math.min(2, entries.length - 1) : right);
    if (entries.length === 2 && fresh) $("right").value = "0";
    slider.style.width = `${picture.width}px`;
    slider.style.aspectRatio = `${picture.width} / ${picture.height}`;
    $("crops").replaceChildren(...picture.versions.map(crop));
    panes = [...$("crops").querySelectorAll(".pane")];
    show();
  }

  function show() {
    for (const [select, image, tag] of [["left", "over", "over-tag"], ["right", "under", "under-tag"]]) {
      const version = picture.versions[Number($(select).value)];
      $(image).src = version.uri;
      $(image).alt = `${picture.image}, ${nameOf(version)}`;
      $(tag).textContent = [nameOf(version), rateOf(version)].filter(Boolean).join(" · ");
    }
    moveEdge(split);
    place();
  }

  function moveEdge(to) {
    split = Math.min(100, Math.max(0, to));
    $("over").style.clipPath = `inset(0 ${100 - split}% 0 0)`;
    $("edge").style.left = `${split}%`;
    $("split").value = String(split);
  }

  function crop(version) {
    const image = make("img", { src: version.uri, alt: `Detail, ${nameOf(version)}`, draggable: "false" });
    const pane = make("div", { class: "pane" }, image);
    drag(pane, (dx, dy) => {
      const scale = scaleOf(pane);
      centre = [centre[0] - dx / (picture.width * scale), centre[1] - dy / (picture.height * scale)];
      place();
    });
    return make("figure", {}, pane, make("figcaption", {}, make("strong", {}, nameOf(version)), make("br"), rateOf(version) || "as it was"));
  }

  /** Screen pixels for a pixel of the picture: never so few that the picture would not fill the pane. */
  function scaleOf(pane) {
    return Math.max(zoom, pane.clientWidth / picture.width, pane.clientHeight / picture.height);
  }

  /** Puts the detail into every pane, and its frame onto the picture. */
  function place() {
    if (!panes.length || !panes[0].clientWidth) return;
    const scale = scaleOf(panes[0]);
    const part = [panes[0].clientWidth / (scale * picture.width), panes[0].clientHeight / (scale * picture.height)];
    centre = centre.map((value, i) => Math.min(1 - part[i] / 2, Math.max(part[i] / 2, value)));
    for (const pane of panes) {
      const image = pane.firstChild;
      image.style.width = `${picture.width * scale}px`;
      image.style.left = `${pane.clientWidth / 2 - centre[0] * picture.width * scale}px`;
      image.style.top = `${pane.clientHeight / 2 - centre[1] * picture.height * scale}px`;
    }
    Object.assign($("region").style, {
      left: `${(centre[0] - part[0] / 2) * 100}%`, top: `${(centre[1] - part[1] / 2) * 100}%`,
      width: `${part[0] * 100}%`, height: `${part[1] * 100}%`,
    });
  }

  /** Tells how far the pointer was dragged since the last call, and of a tap that moved nowhere. */
  function drag(element, moved, tapped) {
    let last = null, far = 0;
    element.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      far = 0;
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener("pointermove", (event) => {
      if (!last) return;
      const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
      last = [event.clientX, event.clientY];
      far += Math.hypot(dx, dy);
      moved(dx, dy, event);
    });
    element.addEventListener("pointerup", (event) => {
      if (last && far < 4 && tapped) tapped(event);
      last = null;
    });
    element.addEventListener("pointercancel", () => { last = null; });
  }

  const at = (event) => {
    const frame = slider.getBoundingClientRect();
    return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
  };
  drag(slider, (dx, dy, event) => moveEdge(at(event)[0] * 100), (event) => { centre = at(event); place(); });
  $("split").addEventListener("input", () => moveEdge(Number($("split").value)));
  for (const side of ["left", "right"]) $(side).addEventListener("change", show);
  fill($("picture"), shown.map((one, i) => [i, one.image]), 0);
  $("picture").addEventListener("change", () => choosePicture(Number($("picture").value)));
  choosePicture(0);
  tabs($("zooms"), ZOOMS.map((factor) => [factor, `${factor}×`]), zoom, (factor) => { zoom = Number(factor); place(); });
  new ResizeObserver(place).observe($("crops"));
})();
