// The wall's charts, the ages of its parts, and a loud word when nothing comes any more.
"use strict";
(() => {
  const SILENT_MS = 5000;
  const KEPT_S = 900;
  const NAMES = ["judged", "rejected", "shadowed"];
  const stale = document.getElementById("stale");
  const charts = [];
  let course = null;
  let last = Date.now();

  function colour(name) {
    const probe = document.createElement("i");
    probe.className = `colour-${name}`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function line(node, name, tone) {
    return { label: node.dataset[name], stroke: colour(tone), width: 2, fill: name === "judged" ? colour("wash") : undefined, points: { show: false } };
  }

  function draw(id, names, tones) {
    const node = document.getElementById(id);
    node.replaceChildren();
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    const chart = new uPlot({
      width: node.clientWidth || 300,
      height: 170,
      cursor: { y: false },
      legend: { live: true },
      padding: [10, 8, 0, 0],
      scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.15)] } },
      axes: [{ ...axis, size: 24, values: (_u, ticks) => ticks.map(clock) }, { ...axis, size: 46 }],
      series: [{ label: node.dataset.time, value: (_u, at) => (at ? new Date(at * 1000).toTimeString().slice(0, 8) : "–") }, ...names.map((name, i) => line(node, name, tones[i]))],
    }, columns(names), node);
    charts.push({ chart, names, node });
  }

  const clock = (at) => new Date(at * 1000).toTimeString().slice(0, 5);
  const columns = (names) => [course.times, ...names.map((name) => course[name])];

  function start() {
    charts.splice(0).forEach(({ chart }) => chart.destroy());
    draw("chart-judged", ["judged"], ["link"]);
    draw("chart-stopped", ["rejected", "shadowed"], ["bad", "dark"]);
  }

  function point(one) {
    if (!course || one.judged === undefined || one.at <= (course.times.at(-1) ?? 0)) return;
    course.times.push(one.at);
    for (const name of NAMES) course[name].push(one[name]);
    while (course.times[0] < one.at - KEPT_S) {
      course.times.shift();
      for (const name of NAMES) course[name].shift();
    }
    for (const { chart, names } of charts) chart.setData(columns(names));
  }

  function beat(event) {
    last = Date.now();
    stale.hidden = true;
    const told = JSON.parse(event.data);
    for (const node of document.querySelectorAll("time[data-age]")) {
      const at = told.ages[node.dataset.age];
      if (at) node.dataset.since = at;
    }
    point(told.point);
  }

  // The streams that are open now: a test takes the line away and looks for the banner.
  document.body.addEventListener("htmx:sseOpen", (event) => event.detail.source.addEventListener("beat", beat));
  setInterval(() => {
    if (Date.now() - last < SILENT_MS || !stale.hidden) return;
    stale.querySelector("time").dataset.since = new Date(last + (palang.now() - Date.now())).toISOString();
    stale.hidden = false;
  }, 500);

  fetch("/v1/wall", { credentials: "same-origin" }).then((answer) => (answer.ok ? answer.json() : null)).then((record) => {
    if (!record) return;
    course = record.course;
    start();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", start);
    new ResizeObserver(() => {
      for (const { chart, node } of charts) if (node.clientWidth && node.clientWidth !== chart.width) chart.setSize({ width: node.clientWidth, height: 170 });
    }).observe(document.getElementById("wall"));
  });
})();
