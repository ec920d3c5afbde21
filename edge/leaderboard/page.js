"use strict";
// Everything is on the page already; this sorts it, chooses from it, and takes methods out of the charts.

function sortable(table) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      // Numbers first from the highest, words from A.
      const next = { descending: "ascending", ascending: "descending" };
      const order = next[head.ariaSort] || (head.classList.contains("n") ? "descending" : "ascending");
      const sign = order === "ascending" ? 1 : -1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const key = (row) => row.cells[column].dataset.v ?? (head.classList.contains("n") ? null : row.cells[column].innerText);
      const compared = (a, b) => {
        const [left, right] = [key(a), key(b)];
        if (left === null || right === null) return (left === null) - (right === null);  // unknown ones last, always
        return sign * (isNaN(left) || isNaN(right) ? left.localeCompare(right) : left - right);
      };
      body.append(...[...body.rows].sort(compared));
    });
  });
}

function choose(form) {
  const chosen = [...new FormData(form)].filter(([, value]) => value !== "");
  for (const board of document.querySelectorAll(".board")) {
    board.hidden = !chosen.every(([name, value]) => board.dataset[name] === value);
  }
  for (const setting of document.querySelectorAll(".setting")) {
    setting.hidden = !setting.querySelector(".board:not([hidden])");
  }
}

function switchable(entry) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = "Show or hide in all charts";
  button.setAttribute("aria-pressed", "true");
  button.dataset.of = entry.dataset.of;
  button.append(...entry.childNodes);
  entry.append(button);
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") === "false", name = button.dataset.of;
    document.querySelectorAll(`.legend button[data-of="${name}"]`).forEach((one) => one.setAttribute("aria-pressed", shown));
    document.querySelectorAll(`figure .${name}, tr.${name}`).forEach((part) => part.classList.toggle("off", !shown));
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll(".legend .entry").forEach(switchable);
const form = document.getElementById("choose");
if (form) {
  form.hidden = false;
  form.addEventListener("change", () => choose(form));
  choose(form);
}
