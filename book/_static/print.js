// Paper is white: a dark page becomes light while it is printed.
window.addEventListener("beforeprint", () => {
  const { theme } = document.documentElement.dataset;
  document.documentElement.dataset.theme = "light";
  window.addEventListener("afterprint", () => (document.documentElement.dataset.theme = theme), {
    once: true,
  });
});
