"use strict";
// Sort a table by the column whose heading is pressed; numbers, which stand in data-key, go from large to small first.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const first = heading.classList.contains("n") ? "descending" : "ascending";
    const second = first === "descending" ? "ascending" : "descending";
    const order = heading.getAttribute("aria-sort") === first ? second : first;
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const compare = (a, b) =>
      a.dataset.key === undefined ? a.textContent.localeCompare(b.textContent) : a.dataset.key - b.dataset.key;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => sign * compare(a.cells[column], b.cells[column]));
    table.tBodies[0].append(...rows);
  });
}
// Say which cell of a large confusion matrix the mouse points at.
for (const heat of document.querySelectorAll(".heat")) {
  const classes = JSON.parse(heat.dataset.classes);
  const counts = new Map(JSON.parse(heat.dataset.counts).map(([row, column, n]) => [row * classes.length + column, n]));
  const note = heat.nextElementSibling;
  heat.querySelector("img").addEventListener("mousemove", (event) => {
    const size = event.target.getBoundingClientRect();
    const place = (at, low, length) => Math.min(classes.length - 1, Math.max(0, Math.floor(((at - low) / length) * classes.length)));
    const row = place(event.clientY, size.top, size.height);
    const column = place(event.clientX, size.left, size.width);
    const n = counts.get(row * classes.length + column) ?? 0;
    const taken = row === column ? "recognised" : `taken for ${column} ${classes[column]}`;
    note.textContent = `${row} ${classes[row]}: ${n} ${taken}`;
  });
}
