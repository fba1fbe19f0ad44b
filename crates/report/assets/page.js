// Draws the charts of the page from the data in it. Texts are only ever set as text, never as markup.
"use strict";
(() => {
  const COLOURS = ["#4269d0", "#ef9b20", "#3ca951", "#a463f2", "#00a3b4", "#ff725c", "#9c6b4e", "#e05ca8", "#7f9be8", "#9498a0"];
  const read = (id) => { const e = document.getElementById(id); return e ? JSON.parse(e.textContent) : null; };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const holder = document.getElementById("charts");
  const live = read("live");
  let data = read("data"), charts = [], log = false;
  const hidden = new Set();

  const bytes = (v) => {
    if (v == null) return "–";
    let unit = 0;
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    while (Math.abs(v) >= 1024 && unit + 1 < units.length) { v /= 1024; unit++; }
    return (unit === 0 ? v : +v.toPrecision(4)) + " " + units[unit];
  };
  const SHOW = {
    bytes, count: (v) => v == null ? "–" : +v.toPrecision(6) + "", seconds: (v) => v == null ? "–" : +v.toPrecision(4) + " s",
    share: (v) => v == null ? "–" : +(v * 100).toPrecision(3) + " %",
  };
  const WHOLE = [...Array(13).keys()].flatMap((e) => [1, 2, 5].map((f) => f * Math.pow(10, e)));
  const bytesSplits = (u, axis, low, high) => {
    // Powers of two alone are round on both sides of a unit: 512 MiB, 1 GiB, 1.5 GiB.
    const step = Math.pow(2, Math.ceil(Math.log2(Math.max((high - low) / 6, 1)))), ticks = [];
    for (let v = Math.ceil(low / step) * step; v <= high && ticks.length < 20; v += step) ticks.push(v);
    return ticks;
  };

  const moments = (u, splits, i, space, step) => splits.map((t, n) => {
    const text = new Date(t * 1e3).toISOString(), time = text.slice(11, step < 1 ? 21 : step < 60 ? 19 : 16);
    if (step >= 86400 || text.slice(11, 19) === "00:00:00") return text.slice(0, 10);
    return n === 0 ? time + "\n" + text.slice(0, 10) : time;
  });

  // All lines on one axis of time; null breaks a line, undefined (no sample of this line then) does not.
  const table = (chart) => {
    const tables = chart.lines.map((line) => {
      const times = [], values = [];
      line.t.forEach((t, i) => {
        const before = times.length ? times[times.length - 1] : null;
        const gap = before !== null && data.gaps.find((g) => g[0] >= before && g[1] <= t);
        if (gap) { times.push((before + t) / 2); values.push(null); }
        const v = line.v[i];
        times.push(t); values.push(log && !(v > 0) ? null : v);
      });
      return [times, values];
    });
    return uPlot.join(tables, tables.map((t) => t.slice(1).map(() => 2)));
  };

  // Gaps behind the lines, events before them.
  const bands = { hooks: {
    drawClear: (u) => {
      u.ctx.save(); u.ctx.fillStyle = css("--gap");
      for (const [from, to] of data.gaps) {
        const a = Math.max(u.valToPos(from, "x", true), u.bbox.left), b = Math.min(u.valToPos(to, "x", true), u.bbox.left + u.bbox.width);
        if (b > a) u.ctx.fillRect(a, u.bbox.top, Math.max(b - a, 1.5), u.bbox.height);
      }
      u.ctx.restore();
    },
    draw: (u) => {
      u.ctx.save(); u.ctx.strokeStyle = css("--mark"); u.ctx.setLineDash([4, 4]); u.ctx.lineWidth = devicePixelRatio;
      for (const [at] of data.events) {
        const x = u.valToPos(at, "x", true);
        if (x >= u.bbox.left && x <= u.bbox.left + u.bbox.width) {
          u.ctx.beginPath(); u.ctx.moveTo(x, u.bbox.top); u.ctx.lineTo(x, u.bbox.top + u.bbox.height); u.ctx.stroke();
        }
      }
      u.ctx.restore();
    },
  } };

  const sync = uPlot.sync("time");
  let zooming = false;
  const zoomAll = (min, max) => {
    if (zooming) return;
    zooming = true;
    charts.forEach((u) => u.setScale("x", { min, max }));
    zooming = false;
  };

  const draw = () => {
    const zoom = charts.length && zoomed ? zoomed : null;
    charts.forEach((u) => u.destroy());
    holder.textContent = "";
    const axis = { stroke: css("--faint"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid"), width: 1 } };
    charts = data.charts.map((chart) => {
      const box = document.createElement("div"), title = document.createElement("h2");
      box.className = "chart"; title.textContent = chart.title;
      box.append(title); holder.append(box);
      const show = SHOW[chart.unit], isLog = log && chart.unit !== "share";
      const u = new uPlot({
        width: Math.max(320, holder.clientWidth), height: 260, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), "Etc/UTC"),
        plugins: [bands], cursor: { sync: { key: sync.key }, focus: { prox: 24 }, drag: { x: true, y: false } }, focus: { alpha: .35 },
        scales: { x: { time: true }, y: isLog ? { distr: 3, log: 2 } : { range: (u, low, high) => low == null ? [0, 1] :
          [low > 0.6 * high && low > 0 && high > low ? Math.max(0, low - (high - low) * .1) : 0, high + Math.max((high - low) * .05, high * 1e-6, 1e-9)] } },
        padding: [8, 24, 0, 0], axes: [{ ...axis, values: moments }, { ...axis, size: 76, values: (u, ticks) => ticks.map((v) => v == null ? "" : show(v)),
          ...(chart.unit === "bytes" && !isLog ? { splits: bytesSplits } : {}), ...(chart.unit === "count" && !isLog ? { incrs: WHOLE } : {}) }],
        series: [{ value: (u, v) => v == null ? "–" : new Date(v * 1e3).toISOString().slice(0, 19).replace("T", " ") }].concat(
          chart.lines.map((line, i) => ({ label: line.name, class: line.severity, show: !hidden.has(line.name), stroke: COLOURS[i % COLOURS.length],
            width: line.severity === "leak" ? 2.5 : 1.5, value: (u, v, s, at) => show(at == null ? line.v.findLast((v) => v != null) : v), points: { show: line.t.length < 3 }, spanGaps: false }))),
        hooks: {
          setSelect: [(u) => { if (u.select.width > 2) { zoomed = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
            zoomAll(...zoomed); } }],
          setSeries: [(u, i, o) => { if (i && o && o.show !== undefined) toggle(u.series[i].label, o.show); }],
        },
      }, table(chart), box);
      u.over.addEventListener("dblclick", () => { zoomed = null; zoomAll(data.from, data.to); });
      u.setScale("x", { min: data.from, max: data.to });
      return u;
    });
    if (zoom) zoomAll(...zoom);
  };
  let zoomed = null, toggling = false;

  // A process that is hidden is hidden in every chart.
  const toggle = (name, show) => {
    if (toggling) return;
    toggling = true;
    if (show) hidden.delete(name); else hidden.add(name);
    charts.forEach((u) => u.series.forEach((s, i) => { if (i && s.label === name && s.show !== show) u.setSeries(i, { show }); }));
    toggling = false;
  };
  const every = (show) => { new Set(data.charts.flatMap((c) => c.lines.map((l) => l.name))).forEach((n) => { if (show) hidden.delete(n); else hidden.add(n); }); draw(); };
  const on = (id, event, what) => { const e = document.getElementById(id); if (e) e.addEventListener(event, what); };
  on("log", "change", (e) => { log = e.target.checked; draw(); });
  on("all", "click", () => every(true));
  on("none", "click", () => every(false));
  on("reset", "click", () => { zoomed = null; zoomAll(data.from, data.to); });
  on("theme", "click", () => {
    const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark"; draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let resizing;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(draw, 150); });
  // The address may ask for a theme or a scale, so that a link can show the same picture.
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (["dark", "light"].includes(wanted.get("theme"))) document.documentElement.dataset.theme = wanted.get("theme");
  if (wanted.has("log")) { log = true; const e = document.getElementById("log"); if (e) e.checked = true; }
  draw();

  // A live page asks once a second; it says when nobody answers any more.
  if (live) {
    const state = document.createElement("p");
    state.id = "state"; document.querySelector("header").append(state);
    const ask = async () => {
      try {
        const answer = await fetch(live, { cache: "no-store" });
        if (!answer.ok) throw new Error(answer.status);
        data = await answer.json(); state.textContent = "live"; draw();
      } catch (error) { state.textContent = "no answer: this is the last that was seen"; }
      setTimeout(ask, 1000);
    };
    setTimeout(ask, 1000);
  }
})();
