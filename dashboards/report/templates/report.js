"use strict";
// Sorting, copying and switching charts only: without this script the page says the same.
function key(cell) {
  const text = cell.dataset.v ?? cell.textContent.trim();
  const number = Number(text);
  return text === "" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
}
function order(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
}
function sort(head) {
  const body = head.closest("table").tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending";
  const column = head.cellIndex;
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const rows = Array.from(body.rows, (row) => [key(row.cells[column]), row]);
  rows.sort(([a], [b]) => {
    // What is missing stays at the end in both directions.
    if (a === null || b === null) return (a === null) - (b === null);
    return up ? order(a, b) : order(b, a);
  });
  body.append(...rows.map(([, row]) => row));
}
for (const head of document.querySelectorAll("table.sortable th")) {
  head.tabIndex = 0;
  head.addEventListener("click", () => sort(head));
  head.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      sort(head);
    }
  });
}
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Opened where the clipboard is not allowed: the old way, by a selection.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await copy(document.getElementById(button.dataset.from).textContent);
    const label = button.textContent;
    button.textContent = "Copied";
    button.disabled = true;
    setTimeout(() => { button.textContent = label; button.disabled = false; }, 1600);
  });
}
for (const group of document.querySelectorAll(".switch")) {
  const buttons = Array.from(group.querySelectorAll("button"));
  group.hidden = buttons.length < 2;
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) {
        other.setAttribute("aria-pressed", String(other === button));
        document.getElementById(other.dataset.shows).hidden = other !== button;
      }
    });
  }
}
// On paper there is nothing to click.
addEventListener("beforeprint", () => {
  for (const closed of document.querySelectorAll("details.method")) closed.open = true;
});
