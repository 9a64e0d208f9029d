"use strict";
// Shared by all charts: the data, the colours of the page, and error handling.

const charts = JSON.parse(document.getElementById("charts").textContent);
const redraws = []; // the function that draws each chart, called again when the colours change

function trouble(problem) {
  const note = document.getElementById("trouble");
  note.textContent = `This browser cannot draw the charts (${problem}); the tables are complete.`;
  note.hidden = false;
  document.documentElement.dataset.charts = "failed";
}
window.addEventListener("error", (event) => trouble(event.message));
window.addEventListener("unhandledrejection", (event) => trouble(event.reason));

/** Escape a name from the configuration: Plotly interprets text as HTML. */
function literal(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function digits(value, n = 4) {
  return value === null ? "not finite" : String(Number(Number(value).toPrecision(n)));
}

/** A fraction in per cent; below 0.01 %, the fraction itself, such as 8.2e-8. */
function percent(fraction) {
  if (fraction === null) return "not finite";
  if (fraction > 0 && fraction < 0.99995e-4) return Number(fraction.toPrecision(3)).toExponential();
  return `${digits(100 * fraction, 3)} %`;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const isTouched = matchMedia("(pointer: coarse)").matches;
const isNarrow = matchMedia("(max-width: 600px)").matches;
const CONFIG = { responsive: true, displaylogo: false, displayModeBar: isTouched ? false : "hover", modeBarButtonsToRemove: ["sendChartToCloud"] };

/** An axis in the colours of the page. */
function axis(more = {}) {
  const line = colour("--line");
  const own = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, exponentformat: "power", ...more };
  return own.title ? { ...own, title: { standoff: 8, ...own.title } } : own;
}

/** Ticks for a logarithmic axis: at least three, with as few per decade as possible. */
function logTicks(low, high) {
  const decades = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++) decades.push(10 ** decade);
  const within = (mantissas) =>
    decades.flatMap((decade) => mantissas.map((mantissa) => mantissa * decade)).filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  const choices = [[1], [1, 2, 5], [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]].map(within);
  return choices.find((ticks) => ticks.length >= 3) ?? [low, high];
}

/** A logarithmic axis for these values, with plain numbers beside it. */
function logAxis(values) {
  const known = values.filter((value) => value !== null && value > 0);
  if (!known.length) return { type: "log" };
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const margin = high < 1.5 * low ? 2 : 1.2; // a wide range for similar values, so that small changes look small
  const ends = [low / margin, high * margin];
  const ticks = logTicks(...ends);
  return { type: "log", range: ends.map(Math.log10), tickvals: ticks, ticktext: ticks.map((tick) => digits(tick, 2)) };
}

/** A layout in the colours of the page. On touch screens, dragging over a chart scrolls the page. */
function layout(more = {}) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 50, r: 16, t: 12, b: 44 },
    hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") }, align: "left" },
    legend: { orientation: "h", y: -0.22, x: 0, traceorder: "normal" },
    dragmode: isTouched ? false : "zoom",
    ...more,
    xaxis: axis(more.xaxis),
    yaxis: axis(more.yaxis),
  };
}

/** Draw a chart without controls. */
function plain(id, chart) {
  if (!chart) return;
  redraws.push(() => {
    const traces = chart.traces.map((trace) => ({ ...trace, name: trace.name ?? "", hoverlabel: { namelength: -1 } }));
    const shape = structuredClone(chart.layout); // Plotly changes its arguments
    if (shape.yaxis?.type === "log") Object.assign(shape.yaxis, logAxis([...traces.flatMap((trace) => trace.y), chart.target ?? null]));
    return Plotly.react(id, traces, layout(shape), CONFIG);
  });
}

/** A labelled select element; `changed` is called with the index of the option. */
function choice(parent, label, options, selected, changed) {
  const select = document.createElement("select");
  options.forEach((text, index) => select.add(new Option(text, index, false, index === selected)));
  select.addEventListener("change", () => changed(Number(select.value)));
  const around = document.createElement("label");
  around.append(`${label} `, select);
  parent.append(around);
}

/** Decompress and run Plotly's script. */
async function loadPlotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.nonce = document.querySelector("script[nonce]").nonce;
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}
