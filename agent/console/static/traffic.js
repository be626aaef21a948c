// The course of a rule's traffic over an hour, a day or a week; a gap is a time in which nothing was counted.
"use strict";
(() => {
  const HEIGHT = 150;
  const NAMES = ["calls", "rejected"];
  const TONES = ["link", "bad"];
  const EVERY_MS = { hour: 5000, day: 60000, week: 300000 };
  const node = document.getElementById("chart-traffic");
  if (!node) return;
  const choices = document.querySelectorAll("[data-window]");
  let chart = null;
  let shown = "hour";
  let timer = 0;

  function colour(name) {
    const probe = document.createElement("i");
    probe.className = `colour-${name}`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function draw(columns) {
    if (chart) chart.destroy();
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    chart = new uPlot({
      width: node.clientWidth || 300,
      height: HEIGHT,
      cursor: { y: false },
      padding: [10, 8, 0, 0],
      scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.15)] } },
      axes: [{ ...axis, size: 28 }, { ...axis, size: 46 }],
      series: [{}, ...NAMES.map((name, i) => ({ label: node.dataset[name], stroke: colour(TONES[i]), width: 2, spanGaps: false, points: { show: false } }))],
    }, columns, node);
  }

  async function show(window) {
    clearTimeout(timer);
    shown = window;
    for (const choice of choices) choice.setAttribute("aria-pressed", String(choice.dataset.window === window));
    const answer = await fetch(`/v1/rules/${node.dataset.rule}/traffic?window=${window}`, { credentials: "same-origin" }).catch(() => null);
    if (shown !== window) return;
    if (answer && answer.ok) {
      const told = await answer.json();
      draw([told.at, ...NAMES.map((name) => told[name])]);
    }
    timer = setTimeout(() => show(window), EVERY_MS[window]);
  }

  for (const choice of choices) choice.addEventListener("click", () => show(choice.dataset.window));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(shown));
  new ResizeObserver(() => {
    if (chart && node.clientWidth && node.clientWidth !== chart.width) chart.setSize({ width: node.clientWidth, height: HEIGHT });
  }).observe(node);
  show(shown);
})();
