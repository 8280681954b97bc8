// Prepares every animation on the page that has no controls yet. Nothing moves by itself.
for (const figure of document.querySelectorAll("figure.fl-animation:not([data-ready])")) {
  figure.dataset.ready = "true";
  const sources = JSON.parse(figure.querySelector("script.fl-frames").textContent);
  const picture = figure.querySelector("img");
  const last = sources.length - 1;
  const label = figure.dataset.label;
  const reduced = window.matchMedia("(prefers-reduced-motion: reduce)");
  let images = null, frame = Number(figure.dataset.still), timer = null;

  const controls = document.createElement("div");
  const button = document.createElement("button");
  const slider = document.createElement("input");
  const counter = document.createElement("span");
  controls.className = "fl-controls";
  button.type = "button";
  Object.assign(slider, { type: "range", min: 0, max: last, step: 1 });
  slider.setAttribute("aria-label", "Frame of " + label);
  counter.setAttribute("aria-hidden", "true");
  controls.append(button, slider, counter);
  picture.after(controls);

  const load = () => {
    images ??= sources.map((source) => Object.assign(new Image(), { src: source }));
  };
  const go = (target) => {
    load();
    frame = Math.max(0, Math.min(last, target));
    picture.src = sources[frame];
    describe();
  };
  const describe = () => {
    slider.value = frame;
    slider.setAttribute("aria-valuetext", `frame ${frame + 1} of ${last + 1}`);
    counter.textContent = `${frame + 1} / ${last + 1}`;
    button.textContent = timer ? "Pause" : "Play";
    button.setAttribute("aria-label", `${button.textContent} ${label}`);
  };
  const pause = () => {
    clearTimeout(timer);
    timer = null;
    describe();
  };
  const advance = () => {
    // Readers who ask for reduced motion see single pictures, one every second.
    const rate = reduced.matches ? 1 : Number(figure.dataset.fps);
    timer = setTimeout(() => {
      if (frame === last || !figure.isConnected) return pause();
      advance();
      if (images[frame + 1].complete) go(frame + 1);
    }, 1000 / rate);
  };
  const play = () => {
    go(frame === last ? 0 : frame);
    advance();
    describe();
  };
  const toggle = () => (timer ? pause() : play());
  const step = (target) => {
    pause();
    go(target);
  };

  button.addEventListener("click", toggle);
  picture.addEventListener("click", toggle);
  slider.addEventListener("input", () => step(Number(slider.value)));
  figure.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === " " && event.target !== button) toggle();
    else if (event.key === "ArrowRight" || event.key === "ArrowUp") step(frame + 1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowDown") step(frame - 1);
    else if (event.key === "Home") step(0);
    else if (event.key === "End") step(last);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  if ("IntersectionObserver" in window) {
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      load();
    }, { rootMargin: "300px" });
    observer.observe(figure);
  }
  describe();
}
