// A formula inside a line that is wider than the page (on a phone) scrolls in place. Style sheets
// cannot tell which formulas these are, so they are marked once the formulas are set. A figure that
// scrolls (see the style sheet) can be reached with the keyboard.
function markWideFormulas() {
  for (const formula of document.querySelectorAll("span.math")) {
    formula.classList.remove("fl-wide");
    const block = formula.closest("p, li, td, dd, figcaption, summary, h1, h2, h3") ?? formula;
    const room = Math.min(block.clientWidth, document.documentElement.clientWidth);
    const wide = formula.getBoundingClientRect().width > room && room > 0;
    formula.classList.toggle("fl-wide", wide);
    wide ? formula.setAttribute("tabindex", "0") : formula.removeAttribute("tabindex");
  }
  for (const figure of document.querySelectorAll(".fl-wide-figure")) {
    const wide = figure.scrollWidth > figure.clientWidth;
    wide ? figure.setAttribute("tabindex", "0") : figure.removeAttribute("tabindex");
  }
}

window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  markWideFormulas();
  window.addEventListener("resize", markWideFormulas);
  document.addEventListener("toggle", markWideFormulas, true); // a fold that opens
});
