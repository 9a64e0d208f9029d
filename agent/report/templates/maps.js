"use strict";
// Maps over the parameter box: a curve for one parameter, a map for two, slices for more.

const LARGEST_RATIO = 100; // ratio of the largest to the smallest value with different colours

// What a map shows: errors, which may share the colours of another map, or ratios. `text` writes a value, `factor` makes it
// one of the axis.
const inPercent = (value) => (value === null ? "not finite" : `${digits(100 * value, 3)} %`); // the unit of the axis
const ERROR = { what: "error", isMeasured: true, text: inPercent, factor: 100, axis: "relative error [%]" };
const ESTIMATE = { ...ERROR, what: "estimated error", isMeasured: false };
const RATIO = { what: "error over estimate", isMeasured: true, text: (value) => digits(value, 3), factor: 1, axis: "error over estimate" };

/** Parameters and value at a point, for the hover box. */
function described(mu, value, kind) {
  const lines = charts.box.map((p, i) => `${literal(p.name)} = ${mu[i] === null ? "any" : digits(mu[i], 5)}`);
  return [...lines, `${kind.what}: ${kind.text(value)}`].join("<br>");
}

/** Colours by the logarithm of a ratio: white at 1, red above, blue below. */
function ratioColours(values) {
  const known = values.filter((value) => value !== null && value > 0).map((value) => Math.abs(Math.log10(value)));
  const most = Math.min(Math.max(Math.log10(2), ...known), 2);
  const ticks = logTicks(10 ** -most, 10 ** most);
  const bar = { title: { text: "ratio", side: "top" }, thickness: 14, outlinewidth: 0, tickvals: ticks.map(Math.log10), ticktext: ticks.map((tick) => digits(tick, 2)) };
  const colorscale = [[0, "#2166ac"], [0.25, "#92c5de"], [0.5, "#f7f7f7"], [0.75, "#f4a582"], [1, "#b2182b"]];
  return { zmin: -most, zmax: most, colorscale, colorbar: bar };
}

/** Colours by the logarithm of a fraction, with per cent at the bar. */
function colours(values) {
  const known = values.filter((value) => value !== null && value > 0);
  const high = known.length ? Math.max(...known) : 1;
  const low = known.length ? Math.max(Math.min(...known), high / LARGEST_RATIO) : 0.1;
  const ticks = logTicks(low, high);
  const bar = { title: { text: "%", side: "top" }, thickness: 14, outlinewidth: 0, tickvals: ticks.map(Math.log10), ticktext: ticks.map((tick) => digits(100 * tick, 2)) };
  const same = high <= low;
  return { zmin: Math.log10(low) - (same ? 0.5 : 0), zmax: Math.log10(high) + (same ? 0.5 : 0), colorscale: "Viridis", colorbar: bar };
}

/** Logarithm for colours; a value of zero gets the colour of the smallest. */
function shade(value, scale) {
  return value === null ? null : Math.max(value > 0 ? Math.log10(value) : -Infinity, scale.zmin);
}

/** Axis of a parameter, over its whole range. */
function parameterAxis(i) {
  const p = charts.box[i];
  const ends = p.log ? [Math.log10(p.low), Math.log10(p.high)] : [p.low, p.high];
  const margin = 0.04 * (ends[1] - ends[0]);
  const ticks = p.log ? logTicks(p.low, p.high) : [];
  const plainTicks = p.log ? { tickvals: ticks, ticktext: ticks.map((tick) => digits(tick, 2)) } : {};
  return { title: { text: literal(p.label) }, type: p.log ? "log" : "linear", ...plainTicks, range: [ends[0] - margin, ends[1] + margin] };
}

const SYMBOLS = { failed: "x", proposed: "circle-open" };

/** The solves for training, at two parameters or, of one, along the lower edge. */
function solvesTrace(x, y) {
  const points = charts.points;
  const onEdge = y === null;
  return {
    type: "scatter",
    mode: charts.box.length > 2 || onEdge ? "markers" : "markers+text",
    x: points.map((point) => point.mu[x]),
    y: points.map((point) => (onEdge ? 0 : point.mu[y])),
    ...(onEdge ? { yaxis: "y2" } : {}),
    text: points.map((point) => (point.chosen && point.status === "solved" ? String(point.number) : "")),
    textfont: { size: 10, color: "#000000" },
    customdata: points.map((point) => {
      const mu = charts.box.map((p, i) => `${literal(p.name)} = ${digits(point.mu[i], 5)}`).join("<br>");
      return `solve ${point.number}, round ${point.round}, ${point.chosen ? "chosen by the agent" : "initial design"}: ${point.status}<br>${mu}`;
    }),
    hovertemplate: "%{customdata}<extra></extra>",
    marker: {
      opacity: 1,
      size: points.map((point) => (point.chosen ? 16 : 11)),
      symbol: points.map((point) => SYMBOLS[point.status] ?? (point.chosen ? "circle" : "square")),
      color: points.map((point) => (point.status === "failed" ? "#d55e00" : point.chosen ? "#e69f00" : "#ffffff")),
      line: { color: "#000000", width: 1 },
    },
    cliponaxis: false,
    showlegend: false,
  };
}

/** One parameter: a curve of a grid, or the points themselves. */
function curve(id, map, kind, shared) {
  const mu = map.axes ? map.axes[0] : map.mu.map((row) => row[0]);
  const positive = shared.filter((value) => value > 0);
  const floor = Math.max(...positive, 1e-12) / LARGEST_RATIO;
  const trace = {
    type: "scatter",
    mode: kind.isMeasured ? "markers" : "lines",
    x: mu,
    y: map.values.map((value) => (value === null ? null : kind.factor * Math.max(value, floor))),
    customdata: map.values.map((value, k) => described([mu[k]], value, kind)),
    hovertemplate: "%{customdata}<extra></extra>",
    line: { color: "#0072b2" },
    marker: { color: "#0072b2", size: 9 },
    showlegend: false,
  };
  const edge = { overlaying: "y", range: [-0.04, 1], visible: false, fixedrange: true };
  const shape = layout({ xaxis: parameterAxis(0), yaxis: { title: { text: kind.axis }, ...logAxis(shared.map((value) => kind.factor * Math.max(value, floor))) } });
  Plotly.react(id, [trace, solvesTrace(0, null)], { ...shape, yaxis2: edge }, CONFIG);
}

/** The values of a grid over two of its axes, at chosen indices of the others: rows along y. */
function slice(map, x, y, at) {
  const strides = map.axes.map((_, i) => map.axes.slice(i + 1).reduce((n, other) => n * other.length, 1));
  const base = at.reduce((sum, k, i) => (i === x || i === y ? sum : sum + k * strides[i]), 0);
  return map.axes[y].map((_, row) => map.axes[x].map((_, column) => map.values[base + column * strides[x] + row * strides[y]]));
}

/** Two parameters of a grid, as coloured cells. */
function cells(map, x, y, at, scale, kind) {
  const values = slice(map, x, y, at);
  const mu = (row, column) => map.axes.map((values, i) => values[i === x ? column : i === y ? row : at[i]]);
  return {
    type: "heatmap",
    x: map.axes[x],
    y: map.axes[y],
    z: values.map((row) => row.map((value) => shade(value, scale))),
    customdata: values.map((row, r) => row.map((value, c) => described(mu(r, c), value, kind))),
    hovertemplate: "%{customdata}<extra></extra>",
    ...scale,
  };
}

/** Points that form no grid, projected to two parameters. */
function scattered(map, x, y, scale, kind) {
  return {
    type: "scatter",
    mode: "markers",
    x: map.mu.map((mu) => mu[x]),
    y: map.mu.map((mu) => mu[y]),
    customdata: map.values.map((value, k) => described(map.mu[k], value, kind)),
    hovertemplate: "%{customdata}<extra></extra>",
    marker: { size: 9, color: map.values.map((value) => shade(value, scale)), cmin: scale.zmin, cmax: scale.zmax, colorscale: scale.colorscale, colorbar: scale.colorbar },
    showlegend: false,
  };
}

/** A map with controls for its parameters; `others`: maps that have the same scale. */
function boxMap(id, map, kind, others = []) {
  if (!map) return;
  const shared = [map, ...others].flatMap((one) => one?.values ?? []);
  if (charts.box.length === 1) {
    redraws.push(() => curve(id, map, kind, shared));
    return;
  }
  const scale = kind === RATIO ? ratioColours(shared) : colours(shared);
  let [x, y] = [0, 1];
  const at = map.axes ? map.axes.map((values) => Math.floor(values.length / 2)) : [];
  const draw = () => {
    const trace = map.axes ? cells(map, x, y, at, scale, kind) : scattered(map, x, y, scale, kind);
    const shape = { xaxis: parameterAxis(x), yaxis: parameterAxis(y), margin: { l: 50, r: 8, t: 12, b: 44 } };
    return Plotly.react(id, [trace, solvesTrace(x, y)], layout(shape), CONFIG);
  };
  const controls = document.getElementById(`${id}-controls`);
  const names = charts.box.map((p) => p.name);
  const offer = () => {
    controls.replaceChildren();
    if (names.length < 3) return;
    const turn = (change) => (k) => (change(k), offer(), draw());
    choice(controls, "across", names, x, turn((k) => ([x, y] = k === y ? [y, x] : [k, y])));
    choice(controls, "up", names, y, turn((k) => ([x, y] = k === x ? [y, x] : [x, k])));
    names.forEach((name, i) => {
      if (!map.axes || i === x || i === y) return;
      choice(controls, name, map.axes[i].map((value) => digits(value, 4)), at[i], (k) => ((at[i] = k), draw()));
    });
  };
  offer();
  redraws.push(draw);
}
