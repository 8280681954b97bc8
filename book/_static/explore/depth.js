// Flat networks x = v_1 o ... o v_k minimise sum_i w_i |x_i|^p over A x = b, p = 2 - 2/k (chapter
// 11). Left: the unit ball of this penalty in the plane, blown up until it touches the line of data.
// Right: a sparse vector and the one that the flattest network of depth k finds.
explore.depth = (stage) => {
  const SIZE = 24;
  const SPIKES = 3;
  const BALL = 200; // points on the boundary of a ball
  const NORMAL = [1, 0.6]; // the line is NORMAL . x = 1
  const ZERO = 1e-6; // a coordinate below this counts as zero

  const plane = explore.panel(stage, {
    x: [-1.35, 1.35], y: [-1.35, 1.35], width: 340, height: 340,
    title: "two coordinates, one measurement", xlabel: "x₁", ylabel: "x₂",
  });
  plane.ticks([-1, 0, 1], [-1, 0, 1]);
  for (const axis of [[[-2, 0], [2, 0]], [[0, -2], [0, 2]]])
    explore.add(plane.inside, "path", { d: explore.line(plane, axis), class: "contour" });
  const data = [-2, 2].map((x) => [x, (1 - NORMAL[0] * x) / NORMAL[1]]);
  const ball = explore.add(plane.inside, "path", { class: "area" });
  explore.add(plane.inside, "path", { d: explore.line(plane, data), class: "curve" });
  const goal = { cx: plane.px(1), cy: plane.py(0), r: 9, class: "goal" };
  explore.add(plane.inside, "circle", goal);
  const contact = explore.add(plane.inside, "circle", { r: 7, class: "ball" });

  const stems = explore.panel(stage, {
    x: [0, SIZE + 1], y: [-2.3, 2.3], width: 340, height: 340,
    title: "24 coordinates", xlabel: "coordinate",
  });
  stems.ticks([1, 12, 24], [-2, -1, 0, 1, 2]);
  const zero = explore.line(stems, [[0, 0], [SIZE + 1, 0]]);
  explore.add(stems.inside, "path", { d: zero, class: "contour" });
  const spots = Array.from({ length: SIZE }, () => ({
    truth: explore.add(stems.inside, "circle", { r: 8, class: "goal" }),
    stem: explore.add(stems.inside, "line", { class: "stem" }),
    head: explore.add(stems.inside, "circle", { r: 3.5, class: "ball" }),
  }));

  let seed = 1, instance;
  const draw = () => {
    const k = depth.value, p = 2 - 2 / k;
    const touch = k > 2 ? NORMAL.map((c) => c ** (1 / (p - 1))) : [1, 0];
    const scale = NORMAL[0] * touch[0] + NORMAL[1] * touch[1];
    const [x1, x2] = touch.map((v) => v / scale);
    const radius = (x1 ** p + x2 ** p) ** (1 / p);
    const round = Array.from({ length: BALL + 1 }, (_, i) => {
      const angle = (2 * Math.PI * i) / BALL;
      const power = (v) => Math.sign(v) * Math.abs(v) ** (2 / p);
      return [radius * power(Math.cos(angle)), radius * power(Math.sin(angle))];
    });
    explore.set(ball, { d: explore.line(plane, round) });
    explore.set(contact, { cx: plane.px(x1), cy: plane.py(x2) });

    const { A, truth } = instance;
    const rows = A.slice(0, count.value);
    const { x, residual } = explore.flattest(rows, explore.times(rows, truth), k);
    spots.forEach(({ truth: ring, stem, head }, i) => {
      const at = stems.px(i + 1);
      explore.set(ring, { cx: at, cy: stems.py(truth[i]), r: truth[i] ? 8 : 0 });
      explore.set(stem, { x1: at, x2: at, y1: stems.py(0), y2: stems.py(x[i]) });
      explore.set(head, { cx: at, cy: stems.py(x[i]) });
    });
    const gap = Math.hypot(...x.map((v, i) => v - truth[i])) / Math.hypot(...truth);
    const dust = x.filter((_, i) => truth[i] === 0).map(Math.abs);
    const kept = dust.filter((v) => v < ZERO).length;
    const between = Number.isInteger(k) ? "" : " (between two networks)";
    const number = (v) => (v < ZERO ? "0" : v.toPrecision(2));
    stage.tell(
      residual > 1e-8
        ? "The solver did not converge here; move a slider."
        : `Depth ${k}${between}, exponent ${p.toFixed(2)}: ${kept} of ${dust.length} zeros are kept; ` +
            `largest entry there ${number(Math.max(...dust))}, relative error ${number(gap)}.`,
    );
  };
  const renew = () => {
    const uniform = explore.random(seed);
    const A = Array.from({ length: SIZE }, () =>
      Array.from({ length: SIZE }, () => explore.normal(uniform)));
    const truth = Array(SIZE).fill(0);
    for (let left = SPIKES; left > 0; ) {
      const i = Math.floor(SIZE * uniform());
      if (truth[i]) continue;
      truth[i] = (uniform() < 0.5 ? -1 : 1) * (1 + uniform());
      left -= 1;
    }
    instance = { A, truth };
  };

  const depth = explore.slider(
    stage, "Depth k", { min: 2, max: 12, step: 0.25, value: 3, words: (k) => `k = ${k}` }, draw);
  const count = explore.slider(
    stage, "Measurements m", { min: 4, max: 24, step: 1, value: 14, words: (m) => `m = ${m}` }, draw);
  explore.button(stage, "Another vector", () => {
    seed += 1;
    renew();
    draw();
  });
  renew();
  draw();
};

// The solution of min sum_i w_i |x_i|^p over A x = b, where w_i is the squared norm of column i and
// p = 2 - 2/k. It is found in the units y_i = w_i^(1/p) x_i, in which all weights are one. Returns x
// and the residual, max_j |(A x - b)_j| over max_j |b_j|.
explore.flattest = (A, b, k) => {
  const p = 2 - 2 / k;
  const scale = A[0].map((_, i) => A.reduce((sum, row) => sum + row[i] ** 2, 0) ** (-1 / p));
  const B = A.map((row) => row.map((a, i) => a * scale[i]));
  const y = k > 2 ? explore.leastPower(B, b, p) : explore.leastSum(B, b);
  const x = y.map((v, i) => v * scale[i]);
  const off = explore.times(A, x).map((v, j) => Math.abs(v - b[j]));
  return { x, residual: Math.max(...off) / Math.max(...b.map(Math.abs)) };
};

// Minimise sum_i |y_i|^p over B y = b, 1 < p < 2. The dual problem has no constraints: maximise
// b . lambda - sum_i |z_i|^q / q with z = B' lambda and 1/p + 1/q = 1; then y_i = z_i |z_i|^(q-2).
// Newton's method with backtracking solves it.
explore.leastPower = (B, b, p) => {
  const { dot, times, solve } = explore;
  const q = p / (p - 1);
  const T = explore.transpose(B);
  const primal = (lambda) => times(T, lambda).map((z) => z * Math.abs(z) ** (q - 2));
  const value = (lambda) =>
    dot(b, lambda) - times(T, lambda).reduce((sum, z) => sum + Math.abs(z) ** q, 0) / q;

  let lambda = solve(B.map((r) => B.map((s) => dot(r, s))), b);
  const largest = Math.max(...times(T, lambda).map(Math.abs));
  lambda = lambda.map((v) => v / largest);
  for (let round = 0; round < 300; round++) {
    const gradient = times(B, primal(lambda)).map((v, j) => b[j] - v);
    if (Math.max(...gradient.map(Math.abs)) < 1e-12 * Math.max(...b.map(Math.abs))) break;
    const bend = times(T, lambda).map((z) => (q - 1) * Math.abs(z) ** (q - 2));
    const weighted = B.map((row) => row.map((v, i) => v * bend[i]));
    const hessian = weighted.map((r) => B.map((s) => dot(r, s)));
    // Where many z are small the matrix is nearly singular.
    const ridge = 1e-14 * hessian.reduce((sum, row, j) => sum + row[j], 0);
    hessian.forEach((row, j) => (row[j] += ridge));
    const direction = solve(hessian, gradient);
    const [rise, here] = [dot(gradient, direction), value(lambda)];
    const moved = (t) => lambda.map((v, j) => v + t * direction[j]);
    let t = 1;
    while (t > 1e-10 && !(value(moved(t)) >= here + 1e-4 * t * rise - 1e-15 * Math.abs(here))) t /= 2;
    lambda = moved(t);
  }
  return primal(lambda);
};

// Minimise sum_i |y_i| over B y = b: Douglas-Rachford splitting finds which entries vanish, and the
// equations then give the others.
explore.leastSum = (B, b) => {
  const { dot, times, solve } = explore;
  const gram = B.map((r) => B.map((s) => dot(r, s)));
  const lift = explore.transpose(B).map((column) => solve(gram, column)); // B' (B B')^-1
  const start = times(lift, b);
  const gamma = 0.3 * Math.max(...start.map(Math.abs));
  const shrink = (v) => Math.sign(v) * Math.max(Math.abs(v) - gamma, 0);
  let s = start, z;
  for (let round = 0, change = 1; round < 5000 && change > 1e-9; round++) {
    const miss = times(B, s).map((v, j) => v - b[j]);
    const y = times(lift, miss).map((v, i) => s[i] - v);
    z = y.map((v, i) => shrink(2 * v - s[i]));
    change = Math.max(...z.map((v, i) => Math.abs(v - y[i]))) / gamma;
    s = s.map((v, i) => v + 1.5 * (z[i] - y[i]));
  }
  const kept = z.flatMap((v, i) => (v ? [i] : []));
  const part = explore.transpose(kept.map((i) => B.map((row) => row[i])));
  const normal = kept.map((_, i) => kept.map((_, j) => part.reduce((t, r) => t + r[i] * r[j], 0)));
  const values = solve(normal, times(explore.transpose(part), b));
  return z.map((v, i) => (v ? values[kept.indexOf(i)] : 0));
};

explore.dot = (u, v) => u.reduce((sum, a, i) => sum + a * v[i], 0);

explore.transpose = (A) => A[0].map((_, i) => A.map((row) => row[i]));

explore.times = (A, x) => A.map((row) => explore.dot(row, x));

// Solve H x = g for a symmetric positive definite H, by Gaussian elimination.
explore.solve = (H, g) => {
  const rows = H.map((row, i) => [...row, g[i]]);
  const n = rows.length;
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++) {
      const ratio = rows[j][i] / rows[i][i];
      for (let c = i; c <= n; c++) rows[j][c] -= ratio * rows[i][c];
    }
  const x = Array(n);
  for (let i = n - 1; i >= 0; i--)
    x[i] = rows[i].slice(i + 1, n).reduce((sum, v, c) => sum - v * x[i + 1 + c], rows[i][n]) / rows[i][i];
  return x;
};
