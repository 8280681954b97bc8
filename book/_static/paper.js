// A page is printed in the light colours, whatever the reader's screen has.
const page = document.documentElement;
window.addEventListener("beforeprint", () => {
  page.dataset.onScreen = page.dataset.theme;
  page.dataset.theme = "light";
});
window.addEventListener("afterprint", () => {
  page.dataset.theme = page.dataset.onScreen;
});
