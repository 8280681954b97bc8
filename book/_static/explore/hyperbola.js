// The smallest example, f(l, r) = (l r - 1)^2: the valley of its zeros, the trace of the Hessian
// along it, and a ball that label noise pushes (chapters 1 and 12).
explore.hyperbola = (stage) => {
  const ETA = 0.01;
  const SPEED = 0.5; // steps of gradient descent in a millisecond
  const LEVELS = [0.1, 0.5, 2, 8];
  const LAST = 1.4; // the slider moves along the valley, l = exp(t) and r = exp(-t), |t| <= LAST
  const trace = (l, r) => 2 * (l * l + r * r);
  const random = explore.random(1);
  const reduced = window.matchMedia("(prefers-reduced-motion: reduce)");

  // Left: the plane of l and r.
  const plane = explore.panel(stage, {
    x: [-0.2, 4.2], y: [-0.2, 4.2], width: 340, height: 340,
    title: "the valley", xlabel: "l", ylabel: "r",
  });
  plane.ticks([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]);
  const draw = (product, style) => {
    const points = Array.from({ length: 81 }, (_, i) => {
      const l = (product / 4.3) * (4.3 ** 2 / product) ** (i / 80);
      return [l, product / l];
    });
    explore.add(plane.inside, "path", { d: explore.line(plane, points), class: style });
  };
  for (const level of LEVELS) {
    draw(1 + Math.sqrt(level), "contour");
    if (level < 1) draw(1 - Math.sqrt(level), "contour");
  }
  draw(1, "curve");
  explore.add(plane.inside, "circle", { cx: plane.px(1), cy: plane.py(1), r: 9, class: "goal" });
  const tail = explore.add(plane.inside, "path", { class: "tail" });
  const bar = explore.add(plane.inside, "line", { class: "bar" });
  const ball = explore.add(plane.inside, "circle", { r: 6, class: "ball" });
  const handle = explore.add(plane.inside, "circle", { r: 24, class: "fl-handle" });

  // Right: the trace along the valley.
  const slope = explore.panel(stage, {
    x: [-1.5, 1.5], y: [3, 50], width: 340, height: 340, log: true,
    title: "the trace on the valley", xlabel: "position along the valley, ½ log(l/r)",
  });
  slope.ticks([-1, 0, 1], [4, 8, 16, 32]);
  const along = Array.from({ length: 61 }, (_, i) => -1.5 + i / 20);
  const traces = along.map((t) => [t, trace(Math.exp(t), Math.exp(-t))]);
  explore.add(slope.inside, "path", { d: explore.line(slope, traces), class: "curve" });
  explore.add(slope.inside, "circle", { cx: slope.px(0), cy: slope.py(4), r: 9, class: "goal" });
  const mark = explore.add(slope.inside, "circle", { r: 6, class: "ball" });

  let l, r, steps, path;
  const show = (aloud) => {
    const [x, y] = [plane.px(l), plane.py(r)];
    for (const circle of [ball, handle]) explore.set(circle, { cx: x, cy: y });
    explore.set(tail, { d: path.length > 1 ? explore.line(plane, path) : "" });
    // Across the valley, on the line (l, r) + s (r, l), the loss is (s^2 + s (l^2 + r^2))^2.
    const half = (l * l + r * r) / 2;
    const ends = [1, -1].map((sign) => Math.sqrt(half * half + sign) - half);
    explore.set(bar, {
      visibility: steps ? "hidden" : "visible",
      x1: plane.px(l + ends[0] * r), y1: plane.py(r + ends[0] * l),
      x2: plane.px(l + ends[1] * r), y2: plane.py(r + ends[1] * l),
    });
    // The point of the valley with the same imbalance l^2 - r^2 = 2 sinh(2t).
    const t = Math.asinh((l * l - r * r) / 2) / 2;
    const same = 4 * Math.cosh(2 * t);
    explore.set(mark, { cx: slope.px(t), cy: slope.py(same) });
    const where = `l = ${l.toFixed(2)}, r = ${r.toFixed(2)}`;
    stage.tell(
      steps
        ? `${where} after ${steps} steps. The point of the valley with this imbalance has the ` +
            `trace ${same.toFixed(1)}; the least is 4.`
        : `${where}: trace ${same.toFixed(1)}. The least on the valley is 4, at l = r = 1.`,
      aloud,
    );
  };

  const step = () => {
    const noise = sigma.value * (random() < 0.5 ? -1 : 1);
    const error = l * r - 1 - noise;
    [l, r] = [l - 2 * ETA * error * r, r - 2 * ETA * error * l];
    steps += 1;
    path = [...path.slice(-60), [l, r]];
  };

  let stop = null; // while the ball rolls: what ends it
  const roll = () => {
    if (reduced.matches) {
      // Readers who ask for reduced motion see single pictures, one every second.
      const timer = setInterval(() => advance(1000 * SPEED), 1000);
      stop = () => clearInterval(timer);
    } else {
      let before = performance.now();
      const next = (now) => {
        // A page that was hidden does not catch up.
        advance(Math.round(Math.min(Math.max(now - before, 0), 100) * SPEED));
        before = now;
        frame = requestAnimationFrame(next);
      };
      let frame = requestAnimationFrame(next);
      stop = () => cancelAnimationFrame(frame);
    }
    toggle.textContent = "Pause";
  };
  const advance = (count) => {
    for (let i = 0; i < count; i++) step();
    show(false);
  };
  const pause = () => {
    stop?.();
    stop = null;
    toggle.textContent = "Roll";
  };
  const place = (t) => {
    pause();
    [l, r, steps, path] = [Math.exp(t), Math.exp(-t), 0, []];
    show(true);
  };

  const start = explore.slider(
    stage, "Start", {
      min: -LAST, max: LAST, step: 0.05, value: 1.3, words: (t) => `l = ${Math.exp(t).toFixed(2)}`,
    }, place);
  const sigma = explore.slider(
    stage, "Noise", { min: 0, max: 2.5, step: 0.5, value: 2, words: (v) => v.toFixed(1) }, () => {});
  const toggle = explore.button(stage, "Roll", () => {
    if (!stop) return roll();
    pause();
    show(true);
  });
  explore.button(stage, "Back to the start", () => place(start.value));

  // Only the handle takes a finger; elsewhere the page scrolls. The ball follows on the valley.
  let grip = null;
  handle.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    handle.setPointerCapture(event.pointerId);
    pause();
    const [x, y] = plane.place(event);
    grip = [x - l, y - r];
  });
  handle.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const [x, y] = plane.place(event).map((v, i) => v - grip[i]);
    const distance = (t) => Math.hypot(Math.exp(t) - x, Math.exp(-t) - y);
    const stops = Array.from({ length: 40 * LAST + 1 }, (_, i) => -LAST + i / 20);
    start.value = stops.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    place(start.value);
  });
  handle.addEventListener("lostpointercapture", () => (grip = null));
  place(start.value);
};
