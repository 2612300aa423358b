// Comfort on top of pages that work without it: live figures, keys, copying, selecting all.
"use strict";

// --- live: the page is asked for again while somebody looks at it and is not in the middle of something -------------------

const live = () => document.getElementById("live");
const BUSY = ":popover-open, [aria-busy], #live input:checked, #live :focus:is(input, select), #live [data-row] a:focus";
const busy = () => document.hidden || document.querySelector(BUSY);
let looked = Date.now();  // when the page was asked for last
let renewed = Date.now();  // of when the answer is that is shown

// Says whether the page was asked for.
function look() {
  const part = live();
  const every = 1000 * (part?.dataset.every ?? 0);  // 0: nothing is to come any more
  if (!every || busy() || Date.now() - looked < every) return false;
  looked = Date.now();
  htmx.trigger(part, "refresh");
  return true;
}

setInterval(look, 250);

document.addEventListener("visibilitychange", () => { if (!document.hidden) looked = 0; });

// --- when the gateway is out of reach, what is shown is old, and says so --------------------------------------------------

function away(text) {
  const note = document.getElementById("away");
  note.hidden = !text;
  note.textContent = text;
}

const since = () => `${new Date(renewed).toISOString().slice(11, 19)} UTC`;
document.addEventListener("htmx:response:error", (event) => away(`The gateway answers ${event.detail.ctx?.response?.status ?? "with an error"}; what you see is of before ${since()}.`));
document.addEventListener("htmx:error", () => away(`The gateway does not answer; what you see is of before ${since()}.`));
document.addEventListener("htmx:after:swap", (event) => {
  showRow();
  if (event.detail.ctx?.response?.status >= 400) return;  // htmx tells of it though nothing was swapped
  away("");
  renewed = Date.now();
});

// --- rows: j and k walk, Enter opens ---------------------------------------------------------------------------------------

let row = "";  // the id of the one that had the focus last: places change as others come and go
const rows = () => [...document.querySelectorAll("[data-row]")];

function showRow() {
  for (const one of rows()) one.classList.toggle("here", one.id === row);
}

function walk(by) {
  const all = rows();
  const place = all.findIndex((one) => one.id === row) + by;
  all[Math.max(0, Math.min(all.length - 1, place))]?.querySelector("a").focus();
}

document.addEventListener("focusin", (event) => {
  row = event.target.closest("[data-row]")?.id ?? row;
  showRow();
});

// --- buttons that ask: r and c open the question of this page's job, or lead to that of the row ---------------------------

function question(name) {
  const asked = document.getElementById(`ask-${name}`);
  const job = document.getElementById(row)?.dataset.job;
  if (asked) asked.showPopover();
  else if (job) location.href = `/console/jobs/${job}#ask-${name}`;
}

if (location.hash.startsWith("#ask-")) document.getElementById(location.hash.slice(1))?.showPopover?.();

// --- a form that is being sent: its button is pressed once ------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button) return;
  if (button.ariaBusy) { event.preventDefault(); return; }
  button.ariaBusy = "true";
  setTimeout(() => { button.disabled = true; });  // not yet: what a disabled button says would not be sent
});

addEventListener("pageshow", () => {  // coming back, a browser may show the page as it was left
  for (const button of document.querySelectorAll("button[aria-busy]")) {
    button.disabled = false;
    button.ariaBusy = null;
  }
});

// --- keys and buttons ------------------------------------------------------------------------------------------------------

const KEYS = {
  "/": () => { const box = document.querySelector("[data-search]"); if (box) box.focus(); else location.href = "/console/jobs#search"; },
  j: () => walk(1),
  k: () => walk(-1),
  r: () => question("retry"),
  c: () => question("cancel"),
  t: () => nextTheme(),
  "?": () => document.getElementById("keys-help")?.togglePopover(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

const DEEDS = {
  theme: () => nextTheme(),
  copy: async (button) => {
    const copied = await copy(document.getElementById(button.dataset.of));
    const label = button.dataset.label ??= button.textContent;
    button.textContent = copied ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => { button.textContent = label; }, copied ? 1500 : 6000);
  },
};

// Browsers lend the clipboard to trusted connections only; elsewhere the text is selected, and copied the old way.
async function copy(part) {
  try { await navigator.clipboard.writeText(part.textContent); return true; } catch { /* none, or not allowed */ }
  getSelection().selectAllChildren(part);
  try { return document.execCommand("copy"); } catch { return false; }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) DEEDS[button.dataset.do](button);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) for (const box of document.querySelectorAll(event.target.dataset.all)) box.checked = event.target.checked;
  showChosen();
});

function showChosen() {
  for (const place of document.querySelectorAll("[data-chosen]")) {
    const count = document.querySelectorAll(`${place.dataset.chosen}:checked`).length;
    place.textContent = count ? `${count} selected` : "";
  }
}

addEventListener("pageshow", showChosen);  // coming back, a browser may have kept the boxes checked

if (location.hash === "#search") document.querySelector("[data-search]")?.focus();
