// What every page gains where there is JavaScript: keys, spans that count by themselves, a clock in the mark across it.
"use strict";
(() => {
  const root = document.documentElement;
  const ahead = Date.parse(root.dataset.now) - Date.now(); // the server's clock counts, not this machine's
  const lengths = [86400, 3600, 60, 1];
  const units = root.dataset.units.split("|");
  const now = () => Date.now() + ahead;

  function span(seconds) {
    const at = Math.max(0, lengths.findIndex((length) => seconds >= length));
    const first = seconds < 1 ? 3 : at;
    const parts = [units[first].replace("{n}", Math.floor(seconds / lengths[first]))];
    if (first < 3) parts.push(units[first + 1].replace("{n}", Math.floor((seconds % lengths[first]) / lengths[first + 1])));
    return parts.join(" ");
  }

  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function tick() {
    for (const node of document.querySelectorAll("time[data-until]")) {
      const left = Math.floor((Date.parse(node.dataset.until) - now()) / 1000);
      put(node, (left < 0 ? "−" : "") + span(Math.abs(left)));
      node.className = left < 0 ? "over" : left < 3600 ? "soon" : "far";
    }
    for (const node of document.querySelectorAll("time[data-since]")) {
      const passed = Math.max(0, Math.floor((now() - Date.parse(node.dataset.since)) / 1000));
      put(node, span(passed));
      const limit = Number(node.dataset.limit);
      if (limit) node.className = passed > limit ? "over" : "past";
    }
  }

  // --- keys

  const keys = document.getElementById("keys");
  const on = document.getElementById("keys-on");
  let went = -Infinity; // when `g` was pressed
  on.checked = localStorage.getItem("keys") !== "off";
  on.addEventListener("change", () => localStorage.setItem("keys", on.checked ? "on" : "off"));
  for (const node of document.querySelectorAll(".needs-script")) node.hidden = false;
  document.querySelector(".keys-open").addEventListener("click", () => keys.showModal());

  function step(by) {
    const rows = [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a"));
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("at"));
    rows[at]?.classList.remove("at");
    const row = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
    row.classList.add("at");
    row.querySelector("a").focus();
  }

  const acts = {
    "?": () => keys.showModal(),
    "/": () => document.querySelector("main input:not([type=hidden]), main textarea, main select")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    t: () => document.querySelector(`form[action="/theme"] button[value="${getComputedStyle(root).colorScheme === "dark" ? "light" : "dark"}"]`)?.click(),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || (!on.checked && event.key !== "?")) return;
    if (event.timeStamp - went < 1500) {
      went = -Infinity;
      const place = document.querySelector(`.top nav a[data-key="${CSS.escape(event.key)}"]`);
      if (place) place.click();
      return;
    }
    const own = document.querySelector(`main [data-press="${CSS.escape(event.key)}"]`);
    if (event.key === "g") went = event.timeStamp;
    else if (own) own.tagName === "BUTTON" || own.tagName === "A" ? own.click() : own.focus();
    else if (acts[event.key]) acts[event.key]();
    else return;
    event.preventDefault();
  });

  function clock() {
    const at = new Date(now());
    const zone = at.toLocaleTimeString("en-GB", { timeZoneName: "short" }).split(" ").pop();
    const two = (n) => String(n).padStart(2, "0");
    const text = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())} ${zone}`;
    for (const node of document.querySelectorAll("time[data-clock]")) put(node, text);
  }

  setInterval(tick, 1000);
  setInterval(clock, 60000);
  window.palang = { now, span };
})();
