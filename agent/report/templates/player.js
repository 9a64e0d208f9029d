"use strict";
// The player: truth, prediction, their difference and the standard deviation over time.

const BAND = 1.645; // standard deviations: half the width of a 90 % band
const FRAME_MS = 160;

/** Decode frames of values from 16-bit codes; non-finite values are null. */
function unpacked(packed, nFrames) {
  const bytes = Uint8Array.from(atob(packed.codes), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const step = (packed.high - packed.low) / 65534;
  const n = bytes.length / 2 / nFrames;
  return Array.from({ length: nFrames }, (_, frame) =>
    Array.from({ length: n }, (_, k) => {
      const code = view.getUint16(2 * (frame * n + k), true);
      return code === 65535 ? null : packed.low + code * step;
    }),
  );
}

/** Combine the values of two arrays; null if one of them is null. */
function combined(first, second, combine) {
  return first.map((value, k) => (value === null || second[k] === null ? null : combine(value, second[k])));
}

/** Smallest and largest value of all frames; zeros if there is none. */
function range(frames) {
  const known = frames.flat().filter((value) => value !== null);
  if (!known.length) return [0, 0];
  return known.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

function padded([low, high]) {
  const margin = 0.05 * (high - low) || Math.abs(high) || 1;
  return [low - margin, high + margin];
}

/** The decoded frames of one field of one trajectory. */
function film(trajectory, field) {
  const n = trajectory.t.length;
  const truth = unpacked(field.truth, n);
  const difference = unpacked(field.difference, n);
  const std = unpacked(field.std, n);
  const prediction = truth.map((frame, k) => combined(frame, difference[k], (u, d) => u + d));
  return { truth, difference, std, prediction, range: range(truth) };
}

function panel(parent, title, tall) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  const chart = document.createElement("div");
  chart.className = tall ? "chart" : "chart low";
  figure.append(caption, chart);
  parent.append(figure);
  return chart;
}

/** Fields along a line: truth and prediction in one panel, their difference with the 90 % band in another. */
function lines(parent, trajectory, field, shown) {
  const { labels, axes } = trajectory.space;
  const x = axes[0];
  const label = literal(field.unit ? `${field.name} [${field.unit}]` : field.name);
  const above = panel(parent, "Truth and prediction, with its 90 % band", true);
  const below = panel(parent, "Prediction minus truth, and half the width of the 90 % band", true);
  const limits = padded(range([...shown.truth, ...shown.prediction.filter((frame) => !frame.includes(null))]));
  const widest = Math.max(...range(shown.difference).map(Math.abs), BAND * range(shown.std)[1]) || 1;
  const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  const fill = { fill: "tonexty", fillcolor: "rgba(86,180,233,0.35)" };
  return (frame, isNew) => {
    const [u, v] = [shown.truth[frame], shown.prediction[frame]];
    const half = shown.std[frame].map((s) => (s === null ? null : BAND * s));
    const minus = half.map((h) => (h === null ? null : -h));
    const curves = [
      [combined(v, minus, (a, b) => a + b), combined(v, half, (a, b) => a + b), u, v],
      [minus, half, shown.difference[frame]],
    ];
    if (!isNew) {
      Plotly.restyle(above, { y: curves[0] });
      Plotly.restyle(below, { y: curves[1] });
      return;
    }
    const ink = colour("--ink");
    const traces = [
      [{ ...edge }, { ...edge, ...fill }, { name: "truth", line: { color: ink, width: 2 } }, { name: "prediction", line: { color: "#d55e00", width: 2, dash: "dash" } }],
      [{ ...edge }, { ...edge, ...fill, name: "90 % band", showlegend: true }, { name: "difference", line: { color: "#d55e00", width: 1.5 } }],
    ].map((own, p) => own.map((trace, k) => ({ type: "scatter", mode: "lines", x, y: curves[p][k], ...trace })));
    const xaxis = { title: { text: literal(labels[0]) } };
    Plotly.react(above, traces[0], layout({ xaxis, yaxis: { title: { text: label }, range: limits } }), CONFIG);
    Plotly.react(below, traces[1], layout({ xaxis, yaxis: { title: { text: label }, range: padded([-widest, widest]) } }), CONFIG);
  };
}

/** Four images of a plane, or of scattered points. */
function images(parent, trajectory, field, shown) {
  const { kind, labels, axes, to_scale: toScale } = trajectory.space;
  const most = Math.max(...range(shown.difference).map(Math.abs)) || 1;
  const [low, high] = shown.range[0] < shown.range[1] ? shown.range : [shown.range[0] - 0.5, shown.range[0] + 0.5];
  const looks = [
    ["Truth", shown.truth, { zmin: low, zmax: high, colorscale: "Viridis" }],
    ["Prediction", shown.prediction, { zmin: low, zmax: high, colorscale: "Viridis" }],
    ["Prediction minus truth", shown.difference, { zmin: -most, zmax: most, colorscale: "RdBu" }],
    ["Standard deviation", shown.std, { zmin: 0, zmax: range(shown.std)[1] || 1, colorscale: "Cividis" }],
  ];
  const panels = looks.map(([title]) => panel(parent, title, false));
  const n = kind === "grid" ? axes[1].length : 0;
  // A field is stored with its second axis fastest; rows of an image run along it.
  const image = (values) => axes[1].map((_, row) => axes[0].map((_, column) => values[column * n + row]));
  const bar = { thickness: 12, outlinewidth: 0, title: { text: literal(field.unit), side: "top" }, tickformat: ".3~g" };
  return (frame, isNew) => {
    looks.forEach(([, frames, look], p) => {
      const values = frames[frame];
      if (!isNew) {
        Plotly.restyle(panels[p], kind === "grid" ? { z: [image(values)] } : { "marker.color": [values] });
        return;
      }
      const marker = { size: 4, color: values, cmin: look.zmin, cmax: look.zmax, colorscale: look.colorscale, colorbar: bar };
      const trace = kind === "grid"
        ? { type: "heatmap", x: axes[0], y: axes[1], z: image(values), ...look, colorbar: bar, hovertemplate: "%{x:.4g}, %{y:.4g}: %{z:.4g}<extra></extra>" }
        : { type: "scatter", mode: "markers", x: axes[0], y: axes[1], marker, hovertemplate: "%{x:.4g}, %{y:.4g}: %{marker.color:.4g}<extra></extra>" };
      const yaxis = { title: { text: literal(labels[1]) }, ...(toScale ? { scaleanchor: "x", constrain: "domain" } : {}) };
      const shape = { xaxis: { title: { text: literal(labels[0]) }, constrain: "domain" }, yaxis, margin: { l: 46, r: 4, t: 8, b: 40 } };
      Plotly.react(panels[p], [trace], layout(shape), CONFIG);
    });
  };
}

/** Error over time, with a mark at the time shown. */
function errorOverTime(parent, trajectory) {
  const chart = panel(parent, "Relative error over time", false);
  chart.parentElement.classList.add("across");
  const percents = trajectory.errors.map((error) => (error === null || error <= 0 ? null : 100 * error));
  return (frame, isNew) => {
    const mark = { type: "line", yref: "paper", y0: 0, y1: 1, x0: trajectory.t[frame], x1: trajectory.t[frame], line: { color: "#d55e00", width: 2 } };
    if (!isNew) {
      Plotly.relayout(chart, { shapes: [mark] });
      return;
    }
    const trace = { type: "scatter", mode: "lines", x: trajectory.t, y: percents, line: { color: "#0072b2" }, hovertemplate: "%{y:.3g} % at %{x:.4g}<extra></extra>" };
    const time = trajectory.time_unit ? `t [${trajectory.time_unit}]` : "t";
    Plotly.react(chart, [trace], layout({ xaxis: { title: { text: literal(time) } }, yaxis: { title: { text: "%" }, ...logAxis(percents) }, shapes: [mark] }), CONFIG);
  };
}

function player() {
  const all = charts.trajectories;
  if (!all.length) return;
  const [which, what, play, slider, now, about, stage] = ["trajectory", "field", "play", "time", "now", "about"]
    .map((name) => document.getElementById(`player-${name}`))
    .concat(document.getElementById("player"));
  let draw = [];
  let timer = null;
  const show = (isNew) => {
    const trajectory = all[which.value];
    const frame = Number(slider.value);
    draw.forEach((each) => each(frame, isNew));
    const time = `${digits(trajectory.t[frame], 4)} ${trajectory.time_unit}`.trim();
    now.textContent = `t = ${time}, error ${percent(trajectory.errors[frame])}`;
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "play";
    play.setAttribute("aria-pressed", "false");
  };
  const open = () => {
    const trajectory = all[which.value];
    const field = trajectory.fields[what.value];
    stage.querySelectorAll(".chart").forEach((chart) => Plotly.purge(chart));
    stage.replaceChildren();
    slider.max = trajectory.t.length - 1;
    slider.value = Math.min(slider.value, slider.max);
    const mu = Object.entries(trajectory.mu).map(([name, value]) => `${name} = ${digits(value, 5)}`).join(", ");
    const elsewhere = trajectory.space.elsewhere ? `; at ${trajectory.space.elsewhere}` : "";
    const hidden = trajectory.n_fields - trajectory.fields.length;
    const rest = hidden > 0 ? `; ${hidden} more fields are not shown` : "";
    about.textContent = `${mu}; largest relative error ${percent(trajectory.error)}${elsewhere}${rest}`;
    const make = trajectory.space.kind === "line" ? lines : images;
    draw = [make(stage, trajectory, field, film(trajectory, field)), errorOverTime(stage, trajectory)];
    show(true);
  };
  const offerFields = () => {
    what.replaceChildren(...all[which.value].fields.map((field, k) => new Option(field.name, k)));
    document.getElementById("player-field-label").hidden = all[which.value].fields.length < 2;
  };
  all.forEach((trajectory, k) => which.add(new Option(trajectory.label, k)));
  which.addEventListener("change", () => (offerFields(), open()));
  what.addEventListener("change", open);
  slider.addEventListener("input", () => show(false));
  play.addEventListener("click", () => {
    if (timer !== null) return stop();
    play.textContent = "pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      slider.value = slider.value === slider.max ? 0 : Number(slider.value) + 1;
      show(false);
    }, FRAME_MS);
  });
  offerFields();
  // Start at the time of the largest error.
  const errors = all[0].errors.map((error) => error ?? Infinity);
  slider.max = all[0].t.length - 1;
  slider.value = errors.indexOf(Math.max(...errors));
  redraws.push(open);
}
