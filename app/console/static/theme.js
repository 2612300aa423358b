// Loaded before anything is drawn, so that the page does not flash in the other theme.
"use strict";
const THEMES = ["auto", "light", "dark"];

function theme() {
  try { return localStorage.getItem("gateway-theme") || "auto"; } catch { return "auto"; }
}

function showTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

function nextTheme() {
  const name = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  try { localStorage.setItem("gateway-theme", name); } catch { /* private mode: it holds until the page is left */ }
  showTheme(name);
}

showTheme(theme());
