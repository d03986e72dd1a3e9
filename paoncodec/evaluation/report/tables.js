/* Tables that sort by any column, and where everything comes from. */
(() => {
  /**
   * Fills a table. A column: {title, value(row) → number or text or null, text(row) → what is shown}.
   * Rows without a value come last, whichever way it is sorted.
   */
  function table(place, columns, rows, rowClass = () => "") {
    let by = null, up = true;
    const heads = columns.map((column, i) => {
      const button = make("button", { type: "button" }, column.title);
      button.addEventListener("click", () => {
        up = by === i ? !up : typeof sample(column) === "string" || column.small;
        by = i;
        fillBody();
      });
      return make("th", { scope: "col" }, button);
    });
    const body = make("tbody");
    const sample = (column) => rows.map(column.value).find((value) => value !== null && value !== undefined);
    function fillBody() {
      heads.forEach((head, i) => {
        if (i === by) head.setAttribute("aria-sort", up ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      });
      const sorted = by === null ? rows : [...rows].sort((a, b) => order(columns[by].value(a), columns[by].value(b)));
      body.replaceChildren(...sorted.map((row) => make("tr", { class: rowClass(row) },
        ...columns.map((column) => {
          const shown = column.text(row);
          return shown instanceof Node ? make("td", {}, shown) : make("td", { class: column.tone ? column.tone(row) : "" }, shown);
        }))));
    }
    function order(a, b) {
      const none = (value) => value === null || value === undefined;
      if (none(a) || none(b)) return none(a) - none(b);
      const one = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
      return up ? one : -one;
    }
    place.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), body);
    fillBody();
  }

  const middle = (codec, key) => {
    const values = codec.points.map((point) => point[key]).filter((value) => typeof value === "number");
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  };
  const rate = (metric) => (codec) => (typeof codec.bd_rate[metric] === "number" ? codec.bd_rate[metric] : null);
  const tone = (value) => (row) => { const v = value(row); return v === null || Math.abs(v) < 0.005 ? "" : v < 0 ? "good" : "bad"; };
  const number = (title, value, digits, more = {}) => ({ title, value, text: (row) => figure(value(row), digits), ...more });

  // Of too few points for a curve: the rate that they take beside the reference's at equal PSNR.
  const single = (codec) => {
    if (rate("psnr")(codec) !== null || !codec.savings.length) return null;
    return -codec.savings.reduce((sum, [, saved]) => sum + saved, 0) / codec.savings.length;
  };
  function bdColumn(metric, title) {
    const value = rate(metric);
    return {
      title, value, small: true, tone: tone(value),
      text: (codec) => {
        if (value(codec) !== null) return `${signed(value(codec), 2)} %`;
        if (metric === "psnr" && single(codec) !== null) return `${signed(single(codec), 2)} % *`;
        return "–";
      },
    };
  }
  function reasons() {
    const why = data.codecs.flatMap((codec) => data.metrics
      .map(({ key }) => codec.bd_rate[key])
      .filter((found) => typeof found === "string")
      .slice(0, 1)
      .map((reason) => `${codec.name}: ${reason}.`));
    return why.length ? ` Dashes: ${why.join(" ")}` : "";
  }
  const columns = [
    { title: "Codec", value: (codec) => codec.name, text: (codec) => codec.name },
    number("Points", (codec) => codec.points.length, 0),
  ];
  if (data.reference) columns.push(...data.metrics.map(({ key }) => bdColumn(key, key === "psnr" ? "BD-rate" : "BD-rate, MS-SSIM")));
  columns.push(
    number("Encode, s", (codec) => middle(codec, "encode"), 3, { small: true }),
    number("Decode, s", (codec) => middle(codec, "decode"), 3, { small: true }),
  );
  if (data.codecs.some((codec) => codec.kmac)) columns.push(number("Decoder, kMAC/px", (codec) => codec.kmac, 0, { small: true }));
  table($("codecs"), columns, data.codecs, (codec) => codec.kind);
  $("codecs-note").textContent = data.reference
    ? `BD-rate against ${data.reference}: PCHIP on log rate, negative where fewer bits give the same quality. Times are means over pictures and points.` +
      (data.codecs.some((codec) => single(codec) !== null) ? " * Too few points for a BD-rate: the rate at equal PSNR, a mean over the points." : "") +
      reasons() + otherPictures()
    : "";

  const measured = data.codecs.map((codec, i) => [i, codec]).filter(([i]) => data.rows.some((row) => row.codec === i));
  $("images-section").hidden = !measured.length;
  if (measured.length) {
    const image = [
      { title: "Picture", value: (row) => row.image, text: (row) => row.image },
      number("bytes", (row) => row.bytes, 0),
      number("bpp", (row) => row.bpp, 4),
      number("PSNR, dB", (row) => row.psnr, 3),
    ];
    const optional = [
      ["ms-ssim", number("MS-SSIM, dB", (row) => row["ms-ssim"], 3)],
      ["lpips", number("LPIPS", (row) => row.lpips, 4)],
      ["saved", { title: `Saved, % of ${data.reference}`, value: (row) => row.saved, text: (row) => (row.saved === null ? "–" : signed(row.saved, 1)), tone: (row) => (row.saved === null ? "" : row.saved > 0 ? "good" : "bad") }],
      ["encode", number("Encode, s", (row) => row.encode, 3)],
      ["decode", number("Decode, s", (row) => row.decode, 3)],
    ];
    for (const [key, column] of optional) if (data.rows.some((row) => typeof row[key] === "number")) image.push(column);
    const chooseQuality = () => {
      const rows = data.rows.filter((row) => row.codec === Number($("images-codec").value) && row.quality === Number($("images-quality").value));
      table($("images"), image, rows);
    };
    const chooseCodec = () => {
      const own = data.rows.filter((row) => row.codec === Number($("images-codec").value)).map((row) => row.quality);
      const qualities = [...new Set(own)].sort((a, b) => a - b);
      fill($("images-quality"), qualities.map((q) => [q, +q.toFixed(2)]), qualities[Math.floor(qualities.length / 2)]);
      chooseQuality();
    };
    fill($("images-codec"), measured.map(([i, codec]) => [i, codec.name]));
    $("images-codec").addEventListener("change", chooseCodec);
    $("images-quality").addEventListener("change", chooseQuality);
    chooseCodec();
  }

  /** Label and text pairs of an object, the ones inside it too. */
  function facts(object, prefix = "") {
    return Object.entries(object || {}).flatMap(([key, value]) => {
      if (value === null || value === "") return [];
      if (typeof value === "object" && !Array.isArray(value)) return facts(value, `${prefix}${key} `);
      return [make("dt", {}, prefix + key.replaceAll("_", " ")), make("dd", {}, String(value))];
    });
  }
  const origins = data.codecs.map((codec) => {
    const list = make("dl", {}, ...facts({ source: codec.source, dataset: codec.dataset }),
      ...(codec.codecs || []).flatMap((one) => facts(one)), ...facts(codec.conditions), ...facts({ "result file SHA-256": codec.sha256 }));
    const failed = codec.failures.map((row) => make("p", { class: "note bad" }, `${row.image} at ${row.quality}: ${row.error}`));
    return make("details", {}, make("summary", {}, codec.name, make("span", {}, codec.description ? ` — ${codec.description}` : "")),
      ...(codec.command ? [make("pre", {}, codec.command)] : []), list, ...failed);
  });
  if (data.command) origins.push(make("details", {}, make("summary", {}, "This page"), make("pre", {}, data.command)));
  $("origin").append(...origins);
})();
