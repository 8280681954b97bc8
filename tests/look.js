// What browsing.py asks of a page. Every function returns problems as text, or what it measured.
window.look = (() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const words = (element) => element.textContent.trim().slice(0, 50);
  const style = (element) => getComputedStyle(element);
  const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0;

  // Colours: what a reader sees, as [red, green, blue] from 0 to 255, and the contrast of WCAG.

  const numbers = (color) => {
    const parts = color.match(/[\d.]+(e-\d+)?/g).map(Number);
    return color.startsWith("color(") ? parts.map((v, i) => (i < 3 ? 255 * v : v)) : parts;
  };
  const over = ([r, g, b, alpha = 1], under) =>
    [r, g, b].map((v, i) => alpha * v + (1 - alpha) * under[i]);
  const behind = (element) =>
    element ? over(numbers(style(element).backgroundColor), behind(element.parentElement)) : [255, 255, 255];
  const luminance = (color) => {
    const [r, g, b] = color.map((v) => (v <= 10.3 ? v / 3295 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };

  // The elements of the article that hold words of their own.
  function written() {
    const walker = document.createTreeWalker(document.querySelector("article") ?? document.body, NodeFilter.SHOW_TEXT);
    const found = new Set();
    while (walker.nextNode())
      if (walker.currentNode.data.trim()) found.add(walker.currentNode.parentElement);
    // A permalink appears under the pointer or the keyboard; MathJax draws its signs otherwise.
    return [...found].filter((e) => shown(e) && !e.closest("mjx-container, script, style, .headerlink"));
  }

  // On paper the background is not printed.
  function contrasts(paper = false) {
    const problems = new Set();
    for (const element of written()) {
      const { color, fill, fontSize, fontWeight } = style(element);
      const background = paper ? [255, 255, 255] : behind(element);
      const ink = over(numbers(element instanceof SVGElement ? fill : color), background);
      const size = parseFloat(fontSize);
      const large = size >= 24 || (size >= 18.6 && fontWeight >= 700);
      const ratio = contrast(ink, background);
      if (ratio < (large ? 3 : 4.5)) problems.add(`contrast ${ratio.toFixed(1)}: ${words(element)}`);
    }
    return [...problems];
  }

  function formulas() {
    const problems = [];
    // MathJax sets an unknown command in red, and calls other mistakes an error.
    const errors = all('mjx-merror, mjx-assistive-mml [mathcolor="red"]');
    if (errors.length) problems.push(`${errors.length} formulas are wrong: ${errors[0].textContent}`);
    for (const math of all("div.math, span.math"))
      if (!math.querySelector("mjx-container")) problems.push(`a formula is not set: ${words(math)}`);
    return problems;
  }

  // What is wider than its place scrolls there, within reach of the keyboard, and not the page.
  function sideways() {
    const problems = [];
    const width = document.documentElement.scrollWidth;
    const scrolls = (e) => ["auto", "scroll"].includes(style(e).overflowX);
    const contained = (e) => e && e !== document.body && (scrolls(e) || contained(e.parentElement));
    if (width > innerWidth) {
      const wide = all("article *").find(
        (e) => e.getBoundingClientRect().right > innerWidth && !contained(e));
      problems.push(`the page scrolls sideways (${width} px), such as ${wide?.tagName} ${wide && words(wide)}`);
    }
    for (const element of all("article *:not(mjx-container, mjx-container *)")) {
      if (element.scrollWidth <= element.clientWidth + 1 || !shown(element) || !scrolls(element)) continue;
      if (!element.matches("[tabindex], :has([tabindex], a[href], button)"))
        problems.push(`the keyboard does not reach what scrolls: ${words(element)}`);
    }
    for (const math of all("div.math, span.math.fl-wide"))
      if (shown(math) && math.scrollWidth > math.clientWidth + 1 && !scrolls(math))
        problems.push(`a wide formula does not scroll: ${words(math)}`);
    return problems;
  }

  // The strongest contrast between the commonest colour of a picture and its others, as it lies on
  // the page. Pixels are sampled and not averaged, which would thin the lines out.
  function inkOf(image) {
    const scale = Math.min(1, 400 / image.naturalWidth);
    const canvas = Object.assign(document.createElement("canvas"), {
      width: image.naturalWidth * scale, height: image.naturalHeight * scale });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.fillStyle = `rgb(${behind(image)})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const counts = new Map();
    for (let i = 0; i < pixels.length; i += 4) {
      const color = [0, 1, 2].map((j) => pixels[i + j] & 0xf0).join();
      counts.set(color, (counts.get(color) ?? 0) + 1);
    }
    const [ground, ...inks] = [...counts].sort((a, b) => b[1] - a[1]);
    const seen = inks.filter(([, count]) => count > pixels.length / 4 / 2000);
    return Math.max(1, ...seen.map(([ink]) => contrast(ink.split(",").map(Number), ground[0].split(",").map(Number))));
  }

  function pictures() {
    const problems = [];
    for (const image of document.images) {
      const name = image.src.split("/").pop().slice(0, 60);
      if (!image.alt.trim()) problems.push(`an image has no alt text: ${name}`);
      if (image.complete && !image.naturalWidth) problems.push(`an image does not load: ${name}`);
      if (!image.naturalWidth || !image.closest("article") || !shown(image)) continue;
      const ratio = inkOf(image);
      if (ratio < 4.5) problems.push(`a picture is not legible (contrast ${ratio.toFixed(1)}): ${name}`);
    }
    return problems;
  }

  // Where the page was opened at a place, that place is on the screen and nothing covers it.
  function landing() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const { left, top } = target.getBoundingClientRect();
    const there = document.elementFromPoint(left + 20, top + 10);
    return target.contains(there) ? [] : [`the link to ${target.id} lands elsewhere, at ${top | 0} px`];
  }

  // The animations: the addresses of their frames, and how far each is below the screen.
  const players = () => all("figure.fl-animation");
  const animations = () => players().map((figure) => ({
    below: figure.getBoundingClientRect().top - innerHeight,
    frames: JSON.parse(figure.querySelector("script.fl-frames").textContent)
      .map((source) => new URL(source, location).pathname)
      .filter((path) => path !== new URL(figure.querySelector("img").src).pathname),
  }));

  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const position = (figure) => figure.querySelector("img").getAttribute("src");
  async function moves(figure, milliseconds) {
    const before = position(figure);
    for (const end = performance.now() + milliseconds; performance.now() < end; await pause(20))
      if (position(figure) !== before) return true;
    return false;
  }

  async function play() {
    const problems = [];
    for (const figure of players()) {
      const say = (problem) => problems.push(`the animation ${figure.dataset.label} ${problem}`);
      const button = figure.querySelector("button");
      if (!button) { say("has no button"); continue; }
      button.click();
      const started = await moves(figure, 5000);
      button.click();
      if (!started) say("does not play");
      if (await moves(figure, 1500 / figure.dataset.fps)) say("does not pause");
    }
    return problems;
  }

  // For a reader who asks for reduced motion.
  async function motion() {
    const problems = [];
    if (style(document.documentElement).scrollBehavior === "smooth") problems.push("the page glides when it scrolls");
    for (const moving of document.getAnimations())
      if (moving.playState === "running" && moving.effect.getComputedTiming().endTime === Infinity)
        problems.push(`something moves by itself: ${moving.effect.target?.className}`);
    const before = players().map(position);
    await pause(300);
    if (players().some((figure, i) => position(figure) !== before[i])) problems.push("an animation plays by itself");
    return problems;
  }

  // On a sheet of paper as wide as the window.
  function paper() {
    const problems = contrasts(true);
    const useless = "header, nav:not(#jb-print-toc nav), dialog, button, input, .bd-sidebar, .bd-header-article, .prev-next-footer, .headerlink";
    for (const element of all(useless))
      if (shown(element) && element.offsetHeight && style(element).visibility === "visible")
        problems.push(`${element.tagName} ${element.className} is printed`);
    // An accent may stand out from its letter by a pixel or two, where nothing else is.
    const cut = (e) => e && e.tagName !== "ARTICLE" &&
      ((style(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 3) || cut(e.parentElement));
    for (const element of [...written(), ...all("article :is(img, svg, table, pre, mjx-math)")]) {
      const { left, width } = element.getBoundingClientRect();
      const right = left + (element instanceof SVGElement ? width : Math.max(width, element.scrollWidth));
      if (shown(element) && width > 1 && (right > innerWidth + 1 || cut(element)))
        problems.push(`${element.tagName} is wider than the paper: ${words(element)}`);
    }
    return problems;
  }

  // Colours and places settle before they are looked at.
  async function settle() {
    for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
    const ending = document.getAnimations().filter((a) => a.effect.getComputedTiming().endTime !== Infinity);
    await Promise.race([pause(2000), Promise.allSettled(ending.map((a) => a.finished))]);
  }

  async function scrollThrough() {
    for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
      scrollTo(0, y);
      // Whether something comes near the screen is noticed when the next frame is drawn.
      for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
    }
    scrollTo(0, 0);
    const loading = () => [...document.images].some((image) => shown(image) && !image.complete);
    for (let i = 0; i < 100 && loading(); i++) await pause(50);
  }

  // axe asks every element on its own, which takes minutes where formulas are. The glyphs of a formula
  // are hidden from a screen reader, which reads the MathML beside them; of the words of a program
  // in one style, one shows the colour of all; and so do some rows of a long table.
  function lighten() {
    for (const glyphs of all('mjx-math[aria-hidden="true"]')) glyphs.remove();
    for (const row of all("tbody tr:nth-child(n + 12)")) row.remove();
    const styles = new Set();
    for (const token of all(".highlight pre span[class]")) {
      const looks = token.closest(".highlight").parentElement.className + token.className;
      if (styles.has(looks)) token.replaceWith(...token.childNodes);
      styles.add(looks);
    }
  }

  return {
    animations, contrasts, formulas, landing, lighten, motion, paper, pictures, play, scrollThrough,
    settle, sideways,
  };
})();
