"use strict";
// Draws all charts, initially and whenever the colours of the page change.

function redraw() {
  redraws.forEach((draw) => draw());
}

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = isDark ? "light" : "dark";
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

loadPlotly().then(() => {
  boxMap("error-map", charts.error_map, ERROR, [charts.uncertainty_map]);
  boxMap("uncertainty-map", charts.uncertainty_map, ESTIMATE, [charts.error_map]);
  boxMap("ratio-map", charts.ratio_map, RATIO);
  player();
  plain("convergence", charts.convergence);
  plain("error-split", charts.error_split);
  plain("reliability", charts.reliability);
  plain("cost", charts.cost);
  plain("timeline", charts.timeline);
  redraw();
  document.documentElement.dataset.charts ??= "drawn";
});
