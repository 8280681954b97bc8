// What is wider than the page scrolls in place, and can be reached with the keyboard. Style sheets
// cannot tell which formulas inside a line these are, so they are marked once the formulas are set.
function markWide() {
  for (const formula of document.querySelectorAll("span.math")) {
    formula.classList.remove("fl-wide");
    const block = formula.closest("p, li, td, dd, figcaption, summary, h1, h2, h3") ?? formula;
    const room = Math.min(block.clientWidth, document.documentElement.clientWidth);
    const wide = formula.getBoundingClientRect().width > room && room > 0;
    formula.classList.toggle("fl-wide", wide);
    makeReachable(formula, wide);
  }
  for (const block of document.querySelectorAll("div.math, .fl-wide-figure"))
    makeReachable(block, block.scrollWidth > block.clientWidth);
}

function makeReachable(element, wide) {
  wide ? element.setAttribute("tabindex", "0") : element.removeAttribute("tabindex");
}

window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  markWide();
  window.addEventListener("resize", markWide);
  document.addEventListener("toggle", markWide, true); // a fold that opens
});
