// The smallest example, f(l, r) = (l r - 1)^2: the valley of its zeros, the trace of the Hessian
// along it, and a ball that label noise pushes (chapters 1 and 12).
explore.hyperbola = (stage) => {
  const ETA = 0.01;
  const STEPS = 8; // of gradient descent, for each picture
  const START = 1.3; // position along the valley: l = exp(1.3)
  const LEVELS = [0.1, 0.5, 2, 8];
  const trace = (l, r) => 2 * (l * l + r * r);
  const random = explore.random(1);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  // Left: the plane of l and r.
  const plane = explore.panel(stage, {
    x: [-0.2, 4.2], y: [-0.2, 4.2], width: 340, height: 340,
    title: "the valley", xlabel: "l", ylabel: "r",
  });
  plane.ticks([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]);
  const curve = (product, style) => {
    const ends = product > 0 ? [product / 4.3, 4.3] : [-0.3, 4.3];
    const points = Array.from({ length: 81 }, (_, i) => {
      const l = product > 0 ? ends[0] * (ends[1] / ends[0]) ** (i / 80) : ends[0] + (i / 80) * 4.6;
      return [l, product / l];
    }).filter(([, r]) => r > -0.5 && r < 4.5);
    explore.add(plane.inside, "path", { d: explore.line(plane, points), class: style });
  };
  for (const level of LEVELS)
    for (const sign of [1, -1])
      if (1 + sign * Math.sqrt(level) > 0) curve(1 + sign * Math.sqrt(level), "contour");
  curve(1, "curve");
  explore.add(plane.inside, "circle", { cx: plane.px(1), cy: plane.py(1), r: 9, class: "goal" });
  const wall = explore.add(plane.inside, "line", { class: "wall" });
  const tail = explore.add(plane.inside, "path", { class: "tail" });
  const ball = explore.add(plane.inside, "circle", { r: 7, class: "ball" });
  const handle = explore.add(plane.inside, "circle", { r: 24 });

  // Right: the trace along the valley.
  const slope = explore.panel(stage, {
    x: [-1.5, 1.5], y: [3, 50], width: 340, height: 340, log: true,
    title: "the trace, 2(l² + r²)", xlabel: "position along the valley, ½ log(l/r)",
  });
  slope.ticks([-1, 0, 1], [4, 8, 16, 32]);
  const along = Array.from({ length: 61 }, (_, i) => -1.5 + i / 20);
  const cosh = along.map((t) => [t, trace(Math.exp(t), Math.exp(-t))]);
  explore.add(slope.inside, "path", { d: explore.line(slope, cosh), class: "curve" });
  explore.add(slope.inside, "circle", { cx: slope.px(0), cy: slope.py(4), r: 9, class: "goal" });
  const mark = explore.add(slope.inside, "circle", { r: 7, class: "ball" });

  let l, r, steps, path, timer = null;

  const draw = (aloud) => {
    const [x, y] = [plane.px(l), plane.py(r)];
    for (const circle of [ball, handle]) explore.set(circle, { cx: x, cy: y });
    // The walls: where the loss reaches 0.5 on both sides of the valley, to first order.
    const [a, b] = [r, l].map((v) => (v * Math.sqrt(0.5)) / (l * l + r * r));
    explore.set(wall, {
      x1: plane.px(l - a), y1: plane.py(r - b), x2: plane.px(l + a), y2: plane.py(r + b),
    });
    explore.set(tail, { d: path.length > 1 ? explore.line(plane, path) : "" });
    const t = l > 0 && r > 0 ? Math.log(l / r) / 2 : 0;
    explore.set(mark, { cx: slope.px(t), cy: slope.py(Math.max(trace(l, r), 3)) });
    const count = steps ? ` after ${steps} steps` : "";
    stage.tell(
      `l = ${l.toFixed(2)}, r = ${r.toFixed(2)}: trace ${trace(l, r).toFixed(1)}${count}. ` +
        "The least trace is 4, at l = r = 1.",
      aloud,
    );
  };

  const place = (position) => {
    pause();
    [l, r, steps, path] = [Math.exp(position), Math.exp(-position), 0, []];
    draw(true);
  };
  const step = () => {
    const noise = sigma.value * (random() < 0.5 ? -1 : 1);
    const error = l * r - 1 - noise;
    [l, r] = [l - 2 * ETA * error * r, r - 2 * ETA * error * l];
    steps += 1;
    path = [...path.slice(-60), [l, r]];
  };
  const advance = () => {
    // Readers who ask for reduced motion see single pictures, one every second.
    for (let i = 0; i < (still.matches ? 30 * STEPS : STEPS); i++) step();
    draw(false);
    timer = still.matches ? setTimeout(advance, 1000) : requestAnimationFrame(advance);
  };
  const pause = () => {
    clearTimeout(timer);
    cancelAnimationFrame(timer);
    timer = null;
    roll.textContent = "Roll";
  };

  const where = explore.slider(
    stage, "Position", {
      min: -1.4, max: 1.4, step: 0.05, value: START,
      words: (t) => `l = ${Math.exp(t).toFixed(2)}`,
    }, place);
  const sigma = explore.slider(
    stage, "Noise", { min: 0, max: 2.5, step: 0.1, value: 1.8, words: (v) => v.toFixed(1) },
    () => {},
  );
  const roll = explore.button(stage, "Roll", () => {
    if (timer === null) {
      roll.textContent = "Pause";
      advance();
    } else {
      pause();
      draw(true);
    }
  });
  explore.button(stage, "Back", () => place(where.value));
  plane.drag(handle, (x, y) => {
    // The point of the valley with the same angle.
    if (x <= 0 || y <= 0) return;
    where.value = Math.max(-1.4, Math.min(1.4, Math.log(x / y) / 2));
    place(where.value);
  });
  place(where.value);
};
