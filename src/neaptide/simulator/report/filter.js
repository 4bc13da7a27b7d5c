"use strict";
// Shows the decisions that fit all fields of the form; without this script, all are shown.
(() => {
  const form = document.getElementById("filter");
  const list = document.getElementById("decisions");
  if (!form || !list) return;
  const rows = Array.from(list.children, (row) => ({ row, text: row.textContent.toLowerCase() }));
  const said = form.querySelector("output");
  const apply = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = ["setup", "by", "result"].filter((name) => form.elements[name].value);
    let shown = 0;
    for (const { row, text } of rows) {
      const fits =
        words.every((word) => text.includes(word)) &&
        chosen.every((name) => row.dataset[name] === form.elements[name].value);
      row.hidden = !fits;
      shown += fits;
    }
    said.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} fit`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
})();
