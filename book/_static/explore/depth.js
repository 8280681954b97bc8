// Flat networks x = v_1 o ... o v_k minimise sum_i w_i |x_i|^p over A x = b, p = 2 - 2/k (chapter
// 11). Left: the ball of this penalty in the plane, grown until it touches the line of data. Right:
// a sparse vector, and the one that the flattest network of depth k finds.
explore.depth = (stage) => {
  const SIZE = 24;
  const SPIKES = 3;
  const ROW = [1, 1.5]; // the measurement of the plane: the line is ROW . x = 1
  const EDGE = 2.9; // larger entries are drawn here
  const ZERO = 1e-8;
  const sum = (values) => values.reduce((total, v) => total + v, 0);

  const plane = explore.panel(stage, {
    x: [-1.35, 1.35], y: [-1.35, 1.35], width: 340, height: 340,
    title: "two coordinates, one measurement", xlabel: "x₁", ylabel: "x₂",
  });
  plane.ticks([-1, 0, 1], [-1, 0, 1]);
  const axes = [[[-2, 0], [2, 0]], [[0, -2], [0, 2]]];
  for (const axis of axes)
    explore.add(plane.inside, "path", { d: explore.line(plane, axis), class: "contour" });
  const ball = explore.add(plane.inside, "path", { class: "area" });
  const data = [-2, 2].map((x) => [x, (1 - ROW[0] * x) / ROW[1]]);
  explore.add(plane.inside, "path", { d: explore.line(plane, data), class: "curve" });
  explore.add(plane.inside, "circle", { cx: plane.px(1), cy: plane.py(0), r: 9, class: "goal" });
  const contact = explore.add(plane.inside, "circle", { r: 6, class: "ball" });

  const stems = explore.panel(stage, {
    x: [0, SIZE + 1], y: [-3, 3], width: 340, height: 340,
    title: `${SIZE} coordinates`, xlabel: "coordinate",
  });
  stems.ticks([1, 12, 24], [-2, -1, 0, 1, 2]);
  const zero = [[0, 0], [SIZE + 1, 0]];
  explore.add(stems.inside, "path", { d: explore.line(stems, zero), class: "contour" });
  const spots = Array.from({ length: SIZE }, () => ({
    ring: explore.add(stems.inside, "circle", { r: 8, class: "goal" }),
    stem: explore.add(stems.inside, "line", { class: "stem" }),
    head: explore.add(stems.inside, "circle", { r: 3.5, class: "ball" }),
  }));

  let seed = 1, instance;
  const draw = () => {
    drawPlane();
    const { A, truth } = instance;
    const k = depth.value, m = measurements.value;
    const rows = A.slice(0, m);
    const { x, residual, gap } = explore.flattest(rows, explore.times(rows, truth), k);
    spots.forEach(({ ring, stem, head }, i) => {
      const [at, value] = [stems.px(i + 1), Math.max(-EDGE, Math.min(EDGE, x[i]))];
      explore.set(ring, { cx: at, cy: stems.py(truth[i]), r: truth[i] ? 8 : 0 });
      explore.set(stem, { x1: at, x2: at, y1: stems.py(0), y2: stems.py(value) });
      explore.set(head, { cx: at, cy: stems.py(value) });
    });
    const solved = residual < 1e-8 && gap < 1e-6;
    stage.tell(solved ? words(x, truth, k, m) : "This case was not solved; move a slider.");
  };

  const drawPlane = () => {
    const p = 2 - 2 / depth.value;
    const weights = ROW.map((a) => a * a);
    const { x } = explore.flattest([ROW], [1], depth.value);
    const size = sum(x.map((v, i) => weights[i] * Math.abs(v) ** p));
    const boundary = Array.from({ length: 201 }, (_, i) => {
      const angle = (2 * Math.PI * i) / 200;
      return [Math.cos(angle), Math.sin(angle)].map(
        (v, j) => Math.sign(v) * ((size * v * v) / weights[j]) ** (1 / p));
    });
    explore.set(ball, { d: explore.line(plane, boundary) });
    explore.set(contact, { cx: plane.px(x[0]), cy: plane.py(x[1]) });
  };

  const words = (x, truth, k, m) => {
    const p = 2 - 2 / k;
    const between = Number.isInteger(k) ? "" : " (between two networks)";
    const dust = x.filter((_, i) => truth[i] === 0).map(Math.abs);
    const number = (v) => (v < ZERO ? "0" : v.toPrecision(2));
    const error = Math.hypot(...x.map((v, i) => v - truth[i])) / Math.hypot(...truth);
    // Zeros can be exact at depth two, or where the data leave no choice; else none is.
    const zeros = k === 2 || m === SIZE ? dust.filter((v) => v < ZERO).length : 0;
    const largest = Math.max(...dust);
    const dusty = zeros
      ? `${zeros} of ${dust.length} zeros are kept, largest entry there ${number(largest)}`
      : `none of ${dust.length} zeros is kept, entries there from ` +
        `${Math.min(...dust).toPrecision(2)} to ${largest.toPrecision(2)}`;
    const clipped = x.some((v) => Math.abs(v) > EDGE) ? " Some entries leave the frame." : "";
    return `Depth ${k}${between}, p = ${p.toFixed(2)}: ${dusty}; relative error ${number(error)}.${clipped}`;
  };

  const renew = () => {
    const uniform = explore.random(seed);
    const A = Array.from({ length: SIZE }, () =>
      Array.from({ length: SIZE }, () => explore.normal(uniform)));
    const truth = Array(SIZE).fill(0);
    while (truth.filter(Boolean).length < SPIKES)
      truth[Math.floor(SIZE * uniform())] = (uniform() < 0.5 ? -1 : 1) * (1 + uniform());
    instance = { A, truth };
  };

  const depth = explore.slider(
    stage, "Depth", { min: 2, max: 12, step: 0.25, value: 3, words: (k) => `k = ${k}` }, draw);
  const measurements = explore.slider(
    stage, "Measurements", { min: 6, max: SIZE, step: 1, value: 14, words: (m) => `m = ${m}` }, draw);
  explore.button(stage, "New instance", () => {
    seed += 1;
    renew();
    draw();
  });
  renew();
  draw();
};

// The solution of min sum_i w_i |x_i|^p over A x = b, where w_i is the squared norm of column i and
// p = 2 - 2/k. It is found in the units y_i = w_i^(1/p) x_i, in which all weights are one, together
// with a solution of the dual problem. Returns x; the residual, max_j |(A x - b)_j| over max_j |b_j|;
// and the duality gap, relative to the value.
explore.flattest = (A, b, k) => {
  const p = 2 - 2 / k, q = p / (p - 1);
  const scale = A[0].map((_, i) => A.reduce((sum, row) => sum + row[i] ** 2, 0) ** (-1 / p));
  const B = A.map((row) => row.map((a, i) => a * scale[i]));
  const { y, lambda } = k > 2 ? explore.leastPower(B, b, p) : explore.leastSum(B, b);
  const x = y.map((v, i) => v * scale[i]);
  const off = explore.times(A, x).map((v, j) => Math.abs(v - b[j]));
  const z = explore.times(explore.transpose(B), lambda).map(Math.abs);
  const power = (values, e) => values.reduce((sum, v) => sum + Math.abs(v) ** e, 0) / e;
  const value = power(y, p);
  const bound =
    k > 2
      ? explore.dot(b, lambda) - power(z, q)
      : explore.dot(b, lambda) / Math.max(1, ...z);
  return {
    x,
    residual: Math.max(...off) / Math.max(...b.map(Math.abs)),
    gap: (value - bound) / value,
  };
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
  return { y: primal(lambda), lambda };
};

// Minimise sum_i |y_i| over B y = b by the simplex method: m columns are the basis, lambda prices
// the others, and one whose price exceeds its cost 1 enters. The data of a sparse vector make many
// steps of length zero, so the basis is chosen for slightly shifted data.
explore.leastSum = (B, b) => {
  const { dot, times, transpose, solve } = explore;
  const T = transpose(B);
  const shift = 1e-7 * Math.max(...b.map(Math.abs));
  const shifted = b.map((v, j) => v + shift * Math.sin(1 + 7 * j * j));
  const basis = B.map((_, j) => j);
  for (let round = 0; round < 1000; round++) {
    const columns = basis.map((i) => T[i]);
    const values = solve(transpose(columns), shifted);
    const lambda = solve(columns, values.map(Math.sign));
    const prices = times(T, lambda).map((z, i) => (basis.includes(i) ? 0 : Math.abs(z)));
    const enters = prices.indexOf(Math.max(...prices));
    if (!(prices[enters] > 1 + 1e-9)) {
      const kept = solve(transpose(columns), b);
      return { y: T.map((_, i) => (basis.includes(i) ? kept[basis.indexOf(i)] : 0)), lambda };
    }
    // As the new entry grows, the others change at these rates, until one of them vanishes.
    const sign = Math.sign(dot(T[enters], lambda));
    const rates = solve(transpose(columns), T[enters]).map((v, j) => v * sign * Math.sign(values[j]));
    const lengths = values.map((v, j) => (rates[j] > 1e-12 ? Math.abs(v) / rates[j] : Infinity));
    basis[lengths.indexOf(Math.min(...lengths))] = enters;
  }
  return { y: T.map(() => NaN), lambda: b.map(() => NaN) };
};

explore.dot = (u, v) => u.reduce((sum, a, i) => sum + a * v[i], 0);

explore.transpose = (A) => A[0].map((_, i) => A.map((row) => row[i]));

explore.times = (A, x) => A.map((row) => explore.dot(row, x));

// Solve H x = g by Gaussian elimination with pivoting.
explore.solve = (H, g) => {
  const rows = H.map((row, i) => [...row, g[i]]);
  const n = rows.length;
  for (let i = 0; i < n; i++) {
    let pivot = i;
    for (let j = i + 1; j < n; j++) if (Math.abs(rows[j][i]) > Math.abs(rows[pivot][i])) pivot = j;
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    for (let j = i + 1; j < n; j++) {
      const ratio = rows[j][i] / rows[i][i];
      for (let c = i; c <= n; c++) rows[j][c] -= ratio * rows[i][c];
    }
  }
  const x = Array(n);
  for (let i = n - 1; i >= 0; i--) {
    const known = rows[i].slice(i + 1, n).reduce((sum, v, c) => sum + v * x[i + 1 + c], 0);
    x[i] = (rows[i][n] - known) / rows[i][i];
  }
  return x;
};
