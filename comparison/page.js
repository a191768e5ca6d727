// Enlarge one test image in every row; the page is complete without this.
const dialog = document.querySelector("dialog");
document.querySelectorAll("table.grid button").forEach(button => button.addEventListener("click", () => {
  const figures = [...document.querySelectorAll(`table.grid button[data-column="${button.dataset.column}"] img`)].map(image => {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    caption.textContent = image.closest("tr").querySelector("th").textContent;
    figure.append(image.cloneNode(), caption);
    return figure;
  });
  dialog.querySelector("div").replaceChildren(...figures);
  dialog.showModal();
}));
if (dialog) dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
