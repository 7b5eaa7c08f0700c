"use strict";

/*
 * AIR in the browser. The first half is the model: the library's inference
 * (air/cell.py, air/model.py, air/transformer.py) on arrays of numbers, an image
 * at a time. The second half is the page.
 *
 * Images are arrays of H W numbers, row by row; 0 is black and 1 is white.
 */

// ---------------------------------------------------------------- numbers

const SMALLEST_SCALE = 1e-6;  // of a window, see air/transformer.py
const LARGEST = 1e6;
const SMALLEST_STD = 1e-15;  // see air/modules.py
const WHAT_SCALE_BIAS = 0.5;  // see air/cell.py
const LOG_ZERO = -1e4;  // see air/prior.py

const sigmoid = (v) => 1 / (1 + Math.exp(-v));
const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
const softplusInverse = (v) => v + Math.log(-Math.expm1(-v));
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
const sum = (values) => values.reduce((a, b) => a + b, 0);

/** Returns numbers in [0, 1) that a seed decides (mulberry32). */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Returns a number drawn from N(0, 1). */
function normal(random) {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return radius * Math.cos(2 * Math.PI * random());
}

/** Returns x W + b of weights `[n, m]`, whose first row is `from`. */
function linear(x, weights, bias, from = 0) {
  const outputs = Float64Array.from(bias);
  const size = outputs.length;
  for (let i = 0; i < x.length; i++) {
    const value = x[i];
    if (value === 0) continue;
    const row = (from + i) * size;
    for (let j = 0; j < size; j++) outputs[j] += value * weights[row + j];
  }
  return outputs;
}

/** Returns KL(N(loc, scale) || N(priorLoc, priorScale)) in nats. */
function klOfNormals(loc, scale, priorLoc, priorScale) {
  const ratio = scale / priorScale;
  const distance = (loc - priorLoc) / priorScale;
  return 0.5 * (ratio * ratio + distance * distance - 1) - Math.log(ratio);
}

// ---------------------------------------------------- the spatial transformer

/** Returns the coordinates of pixel centres, from -1 to 1. */
function coordinates(size) {
  return Float64Array.from({length: size}, (_, i) => (2 * i) / (size - 1) - 1);
}

/**
 * Interpolates an image linearly; it is zero outside.
 *
 * @param image of `height` times `width` numbers.
 * @param ys coordinates of the rows of the result.
 * @param xs coordinates of its columns.
 */
function resample(image, height, width, ys, xs) {
  const result = new Float64Array(ys.length * xs.length);
  const row = new Float64Array(width);
  ys.forEach((y, i) => {
    const pixel = (y + 1) * 0.5 * (height - 1);
    const first = Math.floor(pixel);
    row.fill(0);
    for (const k of [first, first + 1]) {
      const weight = 1 - Math.abs(pixel - k);
      if (k < 0 || k >= height || weight <= 0) continue;
      for (let j = 0; j < width; j++) row[j] += weight * image[k * width + j];
    }
    xs.forEach((x, j) => {
      const column = (x + 1) * 0.5 * (width - 1);
      const left = Math.floor(column);
      const share = column - left;
      let value = 0;
      if (left >= 0 && left < width) value += (1 - share) * row[left];
      if (left >= -1 && left + 1 < width) value += share * row[left + 1];
      result[i * xs.length + j] = value;
    });
  });
  return result;
}

/** Cuts a window (sx, tx, sy, ty) out of an image. */
function crop(image, [height, width], window, [rows, columns]) {
  const [sx, tx, sy, ty] = window.map((v) => clamp(v, -LARGEST, LARGEST));
  return resample(
    image, height, width,
    coordinates(rows).map((y) => sy * y + ty),
    coordinates(columns).map((x) => sx * x + tx),
  );
}

/** Paints a glimpse into its window (sx, tx, sy, ty) on a black image. */
function paste(glimpse, [rows, columns], window, [height, width]) {
  const [sx, tx, sy, ty] = window.map((v) => clamp(v, -LARGEST, LARGEST));
  const away = (s) => {
    if (Math.abs(s) >= SMALLEST_SCALE) return s;
    return s < 0 ? -SMALLEST_SCALE : SMALLEST_SCALE;
  };
  return resample(
    glimpse, rows, columns,
    coordinates(height).map((y) => (y - ty) / away(sy)),
    coordinates(width).map((x) => (x - tx) / away(sx)),
  );
}

/** Returns (y0, x0, y1, x1) of a window in pixels; pixel i is [i, i + 1). */
function boxOf([sx, tx, sy, ty], [height, width]) {
  const halfY = 0.5 * (height - 1);
  const halfX = 0.5 * (width - 1);
  return [
    (ty - Math.abs(sy) + 1) * halfY, (tx - Math.abs(sx) + 1) * halfX,
    (ty + Math.abs(sy) + 1) * halfY + 1, (tx + Math.abs(sx) + 1) * halfX + 1,
  ];
}

// ------------------------------------------------------------- the weights

/** Returns what float16 numbers mean, by their 16 bits. */
const halves = (() => {
  let table = null;
  return () => {
    if (table) return table;
    table = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const exponent = (bits >> 10) & 31;
      const fraction = (bits & 1023) / 1024;
      const value = exponent
        ? (1 + fraction) * 2 ** (exponent - 15)
        : fraction * 2 ** -14;
      table[bits] = bits >> 15 ? -value : value;
    }
    return table;
  };
})();

/** Reads a file of air/storage/weights.py (safetensors, float16). */
function readWeights(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 8, length));
  const {__metadata__: metadata, ...entries} = JSON.parse(text);
  const table = halves();
  const weights = {};
  let size = 0;
  for (const [name, {dtype, data_offsets: [begin, end]}] of
    Object.entries(entries)) {
    if (dtype !== "F16") throw new Error(`${name} is not of float16`);
    const start = 8 + length;
    const bits = new Uint16Array(buffer.slice(start + begin, start + end));
    const values = new Float32Array(bits.length);
    for (let i = 0; i < bits.length; i++) values[i] = table[bits[i]];
    weights[name] = values;
    size += bits.length;
  }
  if (!metadata.model) throw new Error("weights of another version");
  const described = JSON.parse(metadata.model);
  return {weights, described, size};
}

// --------------------------------------------------------------- the model

class Model {
  /**
   * @param buffer of a file of air/storage/weights.py.
   * @param entry of models.json: its name, and a reference for `surprise`.
   */
  constructor(buffer, entry = {}) {
    const {weights, described, size} = readWeights(buffer);
    this.weights = weights;
    this.size = size;
    this.name = entry.name || "AIR";
    this.described = described;
    this.reference = entry.reference || null;
    this.config = described.air.model;
    this.imageSize = this.config.image_size;
    this.numSteps = this.config.num_steps;
    this.whereSize = this.config.where_parametrization === "4d" ? 4 : 3;
    this.setPriors(described.air.prior);
  }

  setPriors(config) {
    const forScales = this.isScale = this.whereSize === 4
      ? [true, false, true, false] : [true, false, false];
    this.whereLoc = forScales.map((s) => (s ? config.where_scale_prior_mean : 0));
    this.whereScale = forScales.map((s) => (s ? config.where_scale_prior_std : 1));
    // What q(z_where) is about before training is not a part of the weights.
    const byPrior = this.config.where_init === "prior";
    this.whereLocBias = forScales.map((s) =>
      byPrior && s ? config.where_scale_prior_mean_initial : 0);
    this.whereScaleBias = forScales.map((s) => {
      if (!byPrior) return this.config.where_scale_bias;
      return softplusInverse(s ? config.where_scale_prior_std_initial : 1);
    });
    const powers = Array.from(
      {length: this.numSteps + 1},
      (_, n) => n * Math.log(config.steps_prior_final),
    );
    const total = Math.log(sum(powers.map(Math.exp)));
    this.logNumSteps = powers.map((power) => power - total);
  }

  mlp(name, inputs, activateFinal = false) {
    let x = inputs;
    for (let k = 0; this.weights[`${name}/mlp/linear_${k}/w`]; k++) {
      const layer = `${name}/mlp/linear_${k}`;
      x = linear(x, this.weights[`${layer}/w`], this.weights[`${layer}/b`]);
      const last = !this.weights[`${name}/mlp/linear_${k + 1}/w`];
      if (!last || activateFinal) x = x.map((v) => (v > 0 ? v : Math.expm1(v)));
    }
    return x;
  }

  gaussian(name, inputs, locBias, scaleBias) {
    const outputs = this.mlp(name, inputs);
    const size = outputs.length / 2;
    return [
      outputs.slice(0, size).map((v, i) => v + locBias(i)),
      outputs.slice(size).map((v, i) =>
        Math.max(softplus(v + scaleBias(i)), SMALLEST_STD)),
    ];
  }

  squashed(where) {
    return where.map((v, k) => (this.isScale[k] ? sigmoid(v) : Math.tanh(v)));
  }

  /** Returns the window (sx, tx, sy, ty) that a z_where means. */
  window(where) {
    const squashed =
      this.config.where_squash === "samples" ? this.squashed(where) : where;
    if (squashed.length === 4) return Array.from(squashed);
    const [s, tx, ty] = squashed;
    return [s, tx, s, ty];
  }

  /** Returns a step's h_i, and leaves in the state what the next one needs. */
  core(image, difference, state) {
    const observed =
      this.config.step_input === "difference" ? difference : image;
    if (!this.config.memory) {
      return this.mlp(
        "cell", this.mlp("cell/image_encoder", observed, true), true);
    }
    const weights = this.weights["cell/lstm/w_i"];
    const bias = this.weights["cell/lstm/b"];
    if (!state.gates || observed === difference) {
      const encoded = this.mlp("cell/image_encoder", observed, true);
      state.encoded = encoded.length;
      state.gates = linear(encoded, weights, bias);
    }
    let gates = state.gates;
    if (this.config.latent_feedback) {
      gates = linear(state.fedBack, weights, gates, state.encoded);
    }
    gates = linear(state.hidden, this.weights["cell/lstm/w_h"], gates);
    const size = this.config.lstm_size;
    const cell = new Float64Array(size);
    const hidden = new Float64Array(size);
    for (let k = 0; k < size; k++) {
      const [i, f, g, o] = [0, 1, 2, 3].map((gate) => gates[gate * size + k]);
      cell[k] = sigmoid(f) * state.cell[k] + sigmoid(i) * Math.tanh(g);
      hidden[k] = sigmoid(o) * Math.tanh(cell[k]);
    }
    state.cell = cell;
    state.hidden = hidden;
    return hidden;
  }

  initialState() {
    const initial = this.weights;
    return {
      gates: null,
      hidden: initial["cell/initial_lstm_state/hidden"],
      cell: initial["cell/initial_lstm_state/cell"],
      // z_what and z_where of no step, and presence
      fedBack: [...new Array(this.config.what_size + this.whereSize).fill(0), 1],
    };
  }

  /**
   * Finds the objects in an image.
   *
   * @param image of H W numbers in [0, 1].
   * @param noise of each step, `where` and `what`; none: z is the mean of q(z).
   * @return count, the most probable n; probs, q(n); logits of p_1..p_T; steps;
   *   canvases, the sum of the first n objects for n = 0..T; elbo in nats.
   */
  infer(image, noise = null) {
    const {config, imageSize} = this;
    const state = this.initialState();
    let canvas = new Float64Array(image.length);
    const canvases = [canvas];
    const steps = [];
    for (let i = 0; i < this.numSteps; i++) {
      const difference = Float64Array.from(image, (v, k) => v - canvas[k]);
      const hidden = this.core(image, difference, state);
      let [whereLoc, whereScale] = this.gaussian(
        "cell/where_head", hidden,
        (k) => this.whereLocBias[k], (k) => this.whereScaleBias[k]);
      if (config.where_squash === "locations") whereLoc = this.squashed(whereLoc);
      const where = noise
        ? whereLoc.map((v, k) => v + whereScale[k] * noise[i].where[k]) : whereLoc;
      const window = this.window(where);

      const seen = config.glimpse_input === "difference" ? difference : image;
      const glimpse = crop(seen, imageSize, window, config.glimpse_size);
      const [whatLoc, whatScale] = this.gaussian(
        "cell/what_head", this.mlp("cell/glimpse_encoder", glimpse, true),
        () => 0, () => WHAT_SCALE_BIAS);
      const what = noise
        ? whatLoc.map((v, k) => v + whatScale[k] * noise[i].what[k]) : whatLoc;

      const decoded = this.mlp("decoder", what);
      const object = this.paste(decoded, window);
      canvas = canvas.map((v, k) => v + object[k]);
      canvases.push(canvas);
      const squashed =
        config.where_squash === "samples" ? this.squashed(where) : where;
      state.fedBack = [...what, ...squashed, 1];
      const [logit] = this.mlp("presence_head", hidden);
      steps.push({
        observed: config.step_input === "difference" ? difference : image,
        whereLoc, whereScale, where, window, box: boxOf(window, imageSize),
        glimpse, whatLoc, whatScale, what, decoded, object,
        logit: logit + config.presence_bias,
      });
    }
    return this.summarised(image, steps, canvases);
  }

  /** Adds q(n) and the ELBO, under the final priors, to what was inferred. */
  summarised(image, steps, canvases) {
    const survival = [1];
    for (const {logit} of steps) survival.push(survival.at(-1) * sigmoid(logit));
    const logSurvival = [0];
    for (const {logit} of steps) {
      logSurvival.push(
        logSurvival.at(-1) + Math.max(-softplus(-logit), LOG_ZERO));
    }
    const probs = survival.map((s, n) =>
      n < steps.length ? s * sigmoid(-steps[n].logit) : s);
    const logProbs = logSurvival.map((s, n) =>
      n < steps.length ? s + Math.max(-softplus(steps[n].logit), LOG_ZERO) : s);
    const std = this.config.output_std;
    const logNormaliser = Math.log(std) + 0.5 * Math.log(2 * Math.PI);
    let elbo = 0;
    canvases.forEach((canvas, n) => {
      let logLikelihood = -image.length * logNormaliser;
      for (let k = 0; k < image.length; k++) {
        const distance = (image[k] - canvas[k]) / std;
        logLikelihood -= 0.5 * distance * distance;
      }
      elbo += probs[n] * (logLikelihood - logProbs[n] + this.logNumSteps[n]);
    });
    steps.forEach((step, i) => {
      step.kl = 0;
      step.what.forEach((_, k) => {
        step.kl += klOfNormals(step.whatLoc[k], step.whatScale[k], 0, 1);
      });
      step.where.forEach((_, k) => {
        step.kl += klOfNormals(
          step.whereLoc[k], step.whereScale[k],
          this.whereLoc[k], this.whereScale[k]);
      });
      elbo -= survival[i + 1] * step.kl;
    });
    return {
      count: probs.indexOf(Math.max(...probs)), probs, steps, canvases, elbo,
      norm: Math.sqrt(sum(Array.from(image, (v) => v * v))) / std,
    };
  }

  /** Returns a decoded glimpse as it is on the canvas. */
  paste(decoded, window) {
    const {glimpse_size: size, canvas_multiplier: multiplier} = this.config;
    return paste(decoded.map((v) => multiplier * v), size, window, this.imageSize);
  }

  /** Returns what an object of these latents adds to the canvas. */
  paint(what, where) {
    return this.paste(this.mlp("decoder", what), this.window(where));
  }

  /** Returns a scene from the prior, whose counts 1..T are equally probable. */
  sample(random) {
    const count = 1 + Math.floor(random() * this.numSteps);
    let canvas = new Float64Array(this.imageSize[0] * this.imageSize[1]);
    for (let i = 0; i < count; i++) {
      const what = Float64Array.from(
        {length: this.config.what_size}, () => normal(random));
      const where = this.whereLoc.map(
        (loc, k) => loc + this.whereScale[k] * normal(random));
      const object = this.paint(what, where);
      canvas = canvas.map((v, k) => v + object[k]);
    }
    return {count, canvas};
  }

  /**
   * Returns which share of ordinary images is as surprising as this one.
   *
   * By the Mahalanobis distance of its ELBO and its norm from those of images
   * like the training images, of the same count; see models.json.
   */
  surprise({count, elbo, norm}) {
    const {by_count: byCount, distances} = this.reference;
    const same = byCount[count];
    if (!same) return 0;
    const offsets = [elbo - same.mean[0], norm - same.mean[1]];
    const [[a, b], [, d]] = same.precision;
    const distance =
      a * offsets[0] ** 2 + 2 * b * offsets[0] * offsets[1] + d * offsets[1] ** 2;
    // The shares of `distances` fall from 1 by a constant factor.
    const above = distances.values.findIndex((v) => v > distance);
    if (above < 0) return 0;
    if (above === 0) return 1;
    const [low, high] = [distances.values[above - 1], distances.values[above]];
    const place = above - 1 + (distance - low) / (high - low);
    return distances.factor ** place;
  }

  /** Returns the entries of z_what that change an object most, at z_what = 0. */
  importantEntries(number) {
    const size = this.config.what_size;
    const changes = Array.from({length: size}, (_, k) => {
      const [low, high] = [-2, 2].map((value) => {
        const what = new Float64Array(size);
        what[k] = value;
        return this.mlp("decoder", what);
      });
      return sum(Array.from(low, (v, i) => Math.abs(v - high[i])));
    });
    return [...changes.keys()].sort((a, b) => changes[b] - changes[a])
      .slice(0, number);
  }
}

// -------------------------------------------------------------- the picture

const DIGIT_SIDE = 28;  // of a digit in digits.png, pixels
// Of a stroke as wide as those of MNIST: full up to here, none from there on.
const STROKE = {inner: 0.7, outer: 2.1};
const BRIGHT = 0.5;  // of a border, above which a picture is inverted

/** What is looked at: ink, and digits that can be moved. */
class Picture {
  constructor([height, width], scale) {
    this.height = height;
    this.width = width;
    this.scale = scale;
    this.clear();
  }

  clear() {
    this.ink = new Float64Array(this.height * this.width);
    this.digits = [];
  }

  pixels() {
    const pixels = Float64Array.from(this.ink);
    for (const {glyph, x, y} of this.digits) {
      for (let i = 0; i < glyph.height; i++) {
        for (let j = 0; j < glyph.width; j++) {
          const at = (y + i) * this.width + x + j;
          pixels[at] = Math.min(1, pixels[at] + glyph.values[i * glyph.width + j]);
        }
      }
    }
    return pixels;
  }

  /** Draws a line between two points (x, y), in pixels. */
  stroke([x0, y0], [x1, y1]) {
    const {inner, outer} = STROKE;
    const reach = outer * this.scale;
    const [dx, dy] = [x1 - x0, y1 - y0];
    const squared = dx * dx + dy * dy;
    const from = (a, b) => Math.floor(Math.min(a, b) - reach);
    const to = (a, b) => Math.ceil(Math.max(a, b) + reach);
    for (let i = Math.max(0, from(y0, y1));
      i < Math.min(this.height, to(y0, y1)); i++) {
      for (let j = Math.max(0, from(x0, x1));
        j < Math.min(this.width, to(x0, x1)); j++) {
        const [x, y] = [j + 0.5 - x0, i + 0.5 - y0];
        const along = squared ? clamp((x * dx + y * dy) / squared, 0, 1) : 0;
        const distance = Math.hypot(x - along * dx, y - along * dy);
        const value = (outer - distance / this.scale) / (outer - inner);
        const at = i * this.width + j;
        this.ink[at] = Math.max(this.ink[at], clamp(value, 0, 1));
      }
    }
  }

  /** Moves a digit to (x, y), or as near to it as it fits. */
  move(digit, x, y) {
    digit.x = clamp(Math.round(x), 0, this.width - digit.glyph.width);
    digit.y = clamp(Math.round(y), 0, this.height - digit.glyph.height);
  }

  /** Adds a digit where none is, or else anywhere. */
  add(glyph, random) {
    const digit = {glyph, x: 0, y: 0};
    const overlaps = (other) =>
      digit.x < other.x + other.glyph.width
      && other.x < digit.x + glyph.width
      && digit.y < other.y + other.glyph.height
      && other.y < digit.y + glyph.height;
    for (let attempt = 0; attempt < 500; attempt++) {
      this.move(
        digit,
        random() * (this.width - glyph.width),
        random() * (this.height - glyph.height));
      if (!this.digits.some(overlaps)) break;
    }
    this.digits.push(digit);
    return digit;
  }

  /**
   * Shows a picture of any size: dark ground, no larger than fits, centred.
   *
   * @param data four numbers per pixel, RGB and opacity in 0..255.
   */
  show({data, width, height}) {
    const bright = new Float64Array(width * height);
    const dark = new Float64Array(width * height);
    for (let i = 0; i < bright.length; i++) {
      const [r, g, b, a] = data.subarray(4 * i, 4 * i + 4);
      bright[i] = (Math.max(r, g, b) / 255) * (a / 255);
      dark[i] = (1 - Math.min(r, g, b) / 255) * (a / 255);
    }
    const ground = (values) => {
      const border = values.filter((_, i) => {
        const [x, y] = [i % width, Math.floor(i / width)];
        return x === 0 || y === 0 || x === width - 1 || y === height - 1;
      }).sort();
      return border[border.length >> 1];
    };
    const values = ground(bright) > BRIGHT ? dark : bright;
    const black = ground(values);
    const white = values.reduce((a, b) => Math.max(a, b), 0);
    this.clear();
    if (white - black < 0.05) return;
    const fit = Math.min(1, this.width / width, this.height / height);
    const [rows, columns] = [height, width].map(
      (size) => Math.max(1, Math.round(size * fit)));
    const small = averaged(values, [height, width], [rows, columns]);
    const top = (this.height - rows) >> 1;
    const left = (this.width - columns) >> 1;
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const value = (small[i * columns + j] - black) / (white - black);
        this.ink[(top + i) * this.width + left + j] = clamp(value, 0, 1);
      }
    }
  }
}

/** Returns an image of fewer pixels, each the mean of those it covers. */
function averaged(values, [height, width], [rows, columns]) {
  const covered = (size, number) => Array.from({length: number}, (_, i) => {
    const [from, to] = [(i * size) / number, ((i + 1) * size) / number];
    const taps = [];
    for (let k = Math.floor(from); k < Math.min(size, to); k++) {
      taps.push([k, Math.min(k + 1, to) - Math.max(k, from)]);
    }
    return {taps, total: to - from};
  });
  const across = covered(width, columns);
  const narrow = new Float64Array(height * columns);
  for (let i = 0; i < height; i++) {
    across.forEach(({taps, total}, j) => {
      for (const [k, share] of taps) {
        narrow[i * columns + j] += (values[i * width + k] * share) / total;
      }
    });
  }
  const result = new Float64Array(rows * columns);
  covered(height, rows).forEach(({taps, total}, i) => {
    for (const [k, share] of taps) {
      for (let j = 0; j < columns; j++) {
        result[i * columns + j] += (narrow[k * columns + j] * share) / total;
      }
    }
  });
  return result;
}

/** Returns the glyphs of digits.png, cropped to their ink, with their labels. */
function glyphsOf(sheet, side) {
  const glyphs = [];
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [side, side];
  const context = canvas.getContext("2d", {willReadFrequently: true});
  for (let top = 0; top < sheet.height; top += DIGIT_SIDE) {
    for (let left = 0; left < sheet.width; left += DIGIT_SIDE) {
      context.drawImage(
        sheet, left, top, DIGIT_SIDE, DIGIT_SIDE, 0, 0, side, side);
      const {data} = context.getImageData(0, 0, side, side);
      const rows = [];
      const columns = [];
      for (let i = 0; i < side * side; i++) {
        if (!data[4 * i]) continue;
        rows.push(Math.floor(i / side));
        columns.push(i % side);
      }
      const [x, y] = [Math.min(...columns), Math.min(...rows)];
      const width = Math.max(...columns) - x + 1;
      const height = Math.max(...rows) - y + 1;
      glyphs.push({
        label: left / DIGIT_SIDE, width, height,
        values: Float64Array.from({length: width * height}, (_, i) =>
          data[4 * ((y + Math.floor(i / width)) * side + x + (i % width))] / 255),
      });
    }
  }
  return glyphs;
}

// ----------------------------------------------------------------- the page

const COLOURS = 6;  // of steps, see style.css
const DREAMS = 8;
const ENTRIES = 8;  // of z_what that have a slider
const PHASE = 420;  // ms, of the animation: looks, crops, paints, adds
const PHASES = 4;
const LATENT_RANGE = 3;
const WHERE_NAMES = {
  4: ["width", "across", "height", "down"], 3: ["size", "across", "down"],
};

const find = (id) => document.getElementById(id);
const stepClass = (i) => `step-${i % COLOURS}`;

function create(tag, attributes = {}, children = []) {
  const isDrawing = ["svg", "rect", "g"].includes(tag);
  const element = isDrawing
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Shows an image on a canvas element, a pixel for a pixel. */
function show(canvas, values, [height, width]) {
  if (canvas.width !== width || canvas.height !== height) {
    [canvas.width, canvas.height] = [width, height];
  }
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const pixels = context.createImageData(width, height);
  values.forEach((value, i) => {
    pixels.data.fill(Math.round(clamp(value, 0, 1) * 255), 4 * i, 4 * i + 3);
    pixels.data[4 * i + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
}

const objectsText = (count) =>
  `${["no", "one", "two", "three", "four", "five", "six"][count] || count}`
  + ` object${count === 1 ? "" : "s"}`;

const percent = (p) => {
  const digits = p > 0.9995 || p < 0.0005 || (p > 0.1 && p < 0.9) ? 0 : 1;
  return `${(100 * p).toFixed(digits)}\u00a0%`;
};

class Page {
  constructor(models, glyphs, scale, random) {
    this.models = models;
    this.glyphs = glyphs;
    this.random = random;
    this.chosen = 0;  // of the models
    this.object = 0;  // that is changed
    this.edited = null;  // its latents, once a slider was moved
    this.started = null;  // when the animation began
    this.size = models[0].imageSize;
    this.picture = new Picture(this.size, scale);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.build();
    this.listen();
    this.shuffle();
    this.dream();
    if (!this.still.matches) this.play();
  }

  get model() { return this.models[this.chosen]; }

  get seen() { return this.results[this.chosen]; }

  // --- what is on the page

  build() {
    const [height, width] = this.size;
    for (const svg of document.querySelectorAll("svg.boxes")) {
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    }
    const several = this.models.length > 1;
    document.body.classList.toggle("several", several);
    this.panels = this.models.map((model, i) => {
      const canvas = create("canvas", {role: "img"});
      const boxes = create("svg", {
        class: "boxes", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true",
      });
      const caption = create("p", {class: "note", role: "status"});
      const choose = several
        ? create("button", {
          type: "button", class: "choose", text: `${model.name} paints`,
        })
        : create("span", {text: "What it paints"});
      choose.addEventListener("click", () => this.choose(i));
      find("panels").append(create("section", {class: "panel"}, [
        create("h2", {}, [choose]),
        create("div", {class: "frame"}, [canvas, boxes]),
        caption,
      ]));
      return {canvas, boxes, caption, choose};
    });
    find("dreams").append(...Array.from({length: DREAMS}, () =>
      create("button", {type: "button"}, [create("canvas")])));
    this.buildForModel();
  }

  /** Makes what depends on the model that is chosen. */
  buildForModel() {
    const {model} = this;
    this.panels.forEach(({choose}, i) =>
      choose.setAttribute("aria-pressed", String(i === this.chosen)));
    find("bars").replaceChildren(...Array.from(
      {length: model.numSteps + 1},
      (_, n) => create("div", {}, [
        create("dt", {text: n}),
        create("dd", {}, [create("i"), create("span")]),
      ]),
    ));
    const rows = Array.from({length: model.numSteps}, (_, i) =>
      create("tr", {class: stepClass(i)}, [
        create("th", {scope: "row"}, [
          create("b", {text: i + 1}), create("span", {class: "more"}),
        ]),
        ...["looks", "crops", "paints", "so far"].map((what) =>
          create("td", {}, [
            create("div", {class: "frame"}, [
              create("canvas", {
                role: "img", "aria-label": `Step ${i + 1}: ${what}`,
              }),
              ...(what === "looks"
                ? [create("svg", {
                  class: "boxes", "aria-hidden": "true",
                  viewBox: `0 0 ${this.size[1]} ${this.size[0]}`,
                })]
                : []),
            ]),
          ])),
      ]));
    find("steps").tBodies[0].replaceChildren(...rows);
    this.buildSliders();
    const {described, size} = model;
    const counts = (described.counts || []).join(", ").replace(/, (\d+)$/, " or $1");
    find("about").textContent =
      `Everything runs in this page; no picture leaves it. ${model.name} has`
      + ` ${(size / 1e6).toFixed(1)} million weights and was trained for`
      + ` ${(described.iteration || 0).toLocaleString("en")} iterations`
      + (counts ? ` on pictures of ${counts} objects.` : ".");
  }

  buildSliders() {
    const {model} = this;
    this.entries = model.importantEntries(ENTRIES);
    const slider = (name, kind, entry) => {
      const input = create("input", {
        type: "range", min: -LATENT_RANGE, max: LATENT_RANGE, step: 0.02,
      });
      input.dataset.kind = kind;
      input.dataset.entry = entry;
      input.addEventListener("input", () => this.edit(kind, entry, input));
      return create("label", {}, [create("span", {text: name}), input]);
    };
    find("where").replaceChildren(...WHERE_NAMES[model.whereSize].map(
      (name, k) => slider(name, "where", k)));
    find("what").replaceChildren(...this.entries.map(
      (entry) => slider(`no. ${entry + 1}`, "what", entry)));
  }

  // --- what a user does

  listen() {
    const on = (id, action) => find(id).addEventListener("click", action);
    on("new", () => this.shuffle());
    on("add", () => { this.addDigit(); this.changed(); });
    on("clear", () => { this.picture.clear(); this.changed(); });
    on("play", () => (this.started === null ? this.play() : this.stop()));
    on("again", () => this.dream());
    on("reset", () => { this.edited = null; this.draw(); });
    find("file").addEventListener("change", ({target}) => {
      if (target.files.length) this.open(target.files[0]);
      target.value = "";
    });
    find("picture").addEventListener("pointerdown", (e) => this.press(e));
    const over = (event, isOver) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", isOver);
    };
    addEventListener("dragover", (event) => over(event, true));
    addEventListener("dragleave", (event) => over(event, false));
    addEventListener("drop", (event) => {
      over(event, false);
      const [file] = event.dataTransfer.files;
      if (file) this.open(file);
    });
  }

  choose(model) {
    this.chosen = model;
    this.edited = null;
    this.buildForModel();
    this.draw();
  }

  shuffle() {
    this.picture.clear();
    for (let i = 0; i < 2; i++) this.addDigit();
    this.changed();
  }

  addDigit() {
    const glyph = this.glyphs[Math.floor(this.random() * this.glyphs.length)];
    this.picture.add(glyph, this.random);
  }

  /** Begins to drag a digit, or to draw. */
  press(event) {
    if (event.button) return;
    const frame = find("picture");
    const place = ({clientX, clientY}) => {
      const {left, top, width, height} = frame.getBoundingClientRect();
      return [
        ((clientX - left) / width) * this.size[1],
        ((clientY - top) / height) * this.size[0],
      ];
    };
    const button = event.target.closest("#digits button");
    let last = place(event);
    let follow;
    if (button) {
      const digit = this.picture.digits[[...find("digits").children].indexOf(button)];
      const [dx, dy] = [last[0] - digit.x, last[1] - digit.y];
      follow = ([x, y]) => this.picture.move(digit, x - dx, y - dy);
      button.focus();
    } else {
      follow = (point) => {
        this.picture.stroke(last, point);
        last = point;
      };
      follow(last);
    }
    event.preventDefault();
    frame.setPointerCapture(event.pointerId);
    frame.classList.toggle("dragging", Boolean(button));
    const moved = (e) => {
      for (const step of e.getCoalescedEvents?.() || [e]) follow(place(step));
      this.changed();
    };
    const ended = () => {
      frame.classList.remove("dragging");
      frame.removeEventListener("pointermove", moved);
      frame.removeEventListener("pointerup", ended);
      frame.removeEventListener("pointercancel", ended);
    };
    frame.addEventListener("pointermove", moved);
    frame.addEventListener("pointerup", ended);
    frame.addEventListener("pointercancel", ended);
    this.changed();
  }

  /** Moves or removes a digit by keyboard. */
  key(event, digit) {
    const steps = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    };
    const {digits} = this.picture;
    if (event.key in steps) {
      const [dx, dy] = steps[event.key].map((v) => v * (event.shiftKey ? 5 : 1));
      this.picture.move(digit, digit.x + dx, digit.y + dy);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      const place = digits.indexOf(digit);
      digits.splice(place, 1);
      this.changed();
      const next = find("digits").children[Math.min(place, digits.length - 1)];
      (next || find("add")).focus();
    } else {
      return;
    }
    event.preventDefault();
    this.changed();
  }

  async open(file) {
    try {
      const bitmap = await createImageBitmap(file);
      const fit = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height));
      const canvas = create("canvas");
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map(
        (side) => Math.max(1, Math.round(side * fit)));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      this.picture.show(
        context.getImageData(0, 0, canvas.width, canvas.height));
      complain("");
    } catch {
      complain(`${file.name} is no picture that this browser can read.`);
      return;
    }
    this.changed();
  }

  edit(kind, entry, input) {
    if (!this.edited) {
      const {what, where} = this.seen.steps[this.object];
      this.edited = {what: Float64Array.from(what), where: Float64Array.from(where)};
    }
    this.edited[kind][entry] = Number(input.value);
    this.stop();
    this.drawEdited();
  }

  /** Makes up scenes. */
  dream() {
    [...find("dreams").children].forEach((button, i) => {
      const {count, canvas} = this.model.sample(this.random);
      show(button.firstChild, canvas, this.size);
      button.setAttribute(
        "aria-label", `Look at scene ${i + 1}, of ${objectsText(count)}`);
      button.onclick = () => {
        this.picture.clear();
        this.picture.ink = canvas.map((v) => clamp(v, 0, 1));
        this.changed();
        find("picture").scrollIntoView({block: "nearest"});
      };
    });
  }

  // --- what follows

  /** Looks again, and shows it. */
  changed() {
    this.started = null;
    this.edited = null;
    const began = performance.now();
    const pixels = this.picture.pixels();
    this.results = this.models.map((model) => model.infer(pixels));
    this.milliseconds = performance.now() - began;
    show(document.querySelector("#picture canvas"), pixels, this.size);
    this.placeDigits();
    this.draw();
  }

  /** Has a button lie on each digit: it is what is dragged, or has the focus. */
  placeDigits() {
    const {digits} = this.picture;
    const [height, width] = this.size;
    const group = find("digits");
    while (group.children.length > digits.length) group.lastChild.remove();
    while (group.children.length < digits.length) {
      group.append(create("button", {type: "button"}));
    }
    digits.forEach((digit, i) => {
      const {glyph, x, y} = digit;
      const button = group.children[i];
      button.style.left = `${(100 * x) / width}%`;
      button.style.top = `${(100 * y) / height}%`;
      button.style.width = `${(100 * glyph.width) / width}%`;
      button.style.height = `${(100 * glyph.height) / height}%`;
      button.setAttribute(
        "aria-label", `Digit ${glyph.label}, ${x} across, ${y} down`);
      button.onkeydown = (event) => this.key(event, digit);
    });
  }

  play() {
    this.edited = null;
    this.started = performance.now();
    const frame = (now) => {
      if (this.started === null) return;
      const phases = PHASES * this.seen.count;
      this.progress = (now - this.started) / PHASE;
      if (this.still.matches) this.progress = Math.floor(this.progress);
      if (this.progress > phases + 1) this.stop();
      else {
        this.drawSteps();
        requestAnimationFrame(frame);
      }
    };
    this.progress = 0;
    find("play").textContent = "Stop";
    requestAnimationFrame(frame);
  }

  stop() {
    this.started = null;
    this.drawSteps();
  }

  /** Shows what was inferred. */
  draw() {
    this.panels.forEach(({caption}, i) => {
      const {count, probs} = this.results[i];
      const text =
        `It finds ${objectsText(count)}, and is ${percent(probs[count])} sure.`;
      if (caption.textContent !== text) caption.textContent = text;
    });
    [...find("bars").children].forEach((row, n) => {
      const prob = this.seen.probs[n];
      row.classList.toggle("most", n === this.seen.count);
      row.querySelector("i").style.width = `${100 * prob}%`;
      row.querySelector("span").textContent = percent(prob);
    });
    this.drawSurprise();
    this.drawSteps();
    this.drawLatents();
  }

  drawSurprise() {
    const {elbo} = this.seen;
    find("bound").textContent = `log p(x) ≥ ${elbo.toFixed(0).replace("-", "−")} nats`;
    find("gauge").hidden = find("surprise").hidden = !this.model.reference;
    if (!this.model.reference) return;
    const share = this.model.surprise(this.seen);
    const value = Math.min(4, -Math.log10(Math.max(share, 1e-9)));
    find("needle").style.left = `${25 * value}%`;
    const like = share >= 0.01
      ? `${Math.round(100 * share)} in 100`
      : `${Math.max(1, Math.round(10000 * share))} in 10,000`;
    const text = share === 0
      ? "No ordinary picture surprises it as much."
      : `${like} ordinary pictures surprise it as much.`;
    find("gauge").setAttribute("aria-valuenow", value.toFixed(2));
    find("gauge").setAttribute("aria-valuetext", text);
    find("surprise").textContent = text;
  }

  /** Shows the steps, as far as the animation has come. */
  drawSteps() {
    const {steps, count, canvases} = this.seen;
    const {size} = this;
    const {glimpse_size: glimpse, canvas_multiplier: multiplier} =
      this.model.config;
    const playing = this.started !== null;
    find("play").textContent = playing ? "Stop" : "Play";
    const come = (step, phase) => {
      if (!playing) return 1;
      const t = clamp(this.progress - (PHASES * step + phase), 0, 1);
      return t * t * (3 - 2 * t);
    };
    const boxes = [];
    let canvas = canvases[0];
    [...find("steps").tBodies[0].rows].forEach((row, i) => {
      const step = steps[i];
      const isThere = i < count;
      row.classList.toggle("absent", !isThere);
      row.querySelector(".more").textContent = percent(sigmoid(step.logit));
      const drawings = row.querySelectorAll("canvas");
      drawings.forEach((drawing, phase) => {
        const shown = isThere ? come(i, phase) : 0;
        drawing.style.opacity = shown;
        drawing.parentElement.classList.toggle("empty", !shown);
      });
      const [looks, crops, paints, soFar] = drawings;
      show(looks, step.observed, size);
      show(crops, step.glimpse, glimpse);
      show(paints, step.decoded.map((v) => v * multiplier), glimpse);
      show(soFar, canvases[i + 1], size);
      const moved = isThere ? come(i, 0) : 0;
      row.querySelector("svg").replaceChildren(
        ...(moved > 0 ? [rectangle(step.box, i)] : []));
      if (!isThere) return;
      if (moved > 0) {
        const whole = [0, 0, ...size];
        boxes.push(rectangle(
          step.box.map((v, k) => whole[k] + moved * (v - whole[k])), i));
      }
      const shown = come(i, 3);
      if (shown > 0) canvas = canvas.map((v, k) => v + shown * step.object[k]);
    });
    find("picture").querySelector("svg").replaceChildren(...boxes);
    this.panels.forEach(({canvas: element, boxes: svg}, i) => {
      const result = this.results[i];
      const mine = i === this.chosen;
      show(element, mine ? canvas : result.canvases[result.count], size);
      element.setAttribute(
        "aria-label",
        `What ${this.models[i].name} paints: ${objectsText(result.count)}`);
      svg.replaceChildren(...(mine ? boxes.map((b) => b.cloneNode())
        : result.steps.slice(0, result.count).map(
          ({box}, k) => rectangle(box, k))));
    });
  }

  drawLatents() {
    const {count} = this.seen;
    find("change").inert = !count;
    find("preview").style.opacity = count ? 1 : 0;
    find("preview").parentElement.classList.toggle("empty", !count);
    find("explained").textContent = count
      ? `An object is where it is, and ${this.model.config.what_size} numbers for`
        + " what it looks like. Those that matter most are here."
      : "There is no object to change.";
    this.object = clamp(this.object, 0, Math.max(0, count - 1));
    const chips = find("objects");
    if (chips.children.length !== count) {
      chips.replaceChildren(...Array.from({length: count}, (_, i) => {
        const radio = create("input", {type: "radio", name: "object"});
        radio.addEventListener("change", () => {
          this.object = i;
          this.edited = null;
          this.draw();
        });
        return create("label", {class: stepClass(i)}, [
          radio,
          create("span", {text: i + 1}),
        ]);
      }));
    }
    [...chips.children].forEach((label, i) => {
      label.firstChild.checked = i === this.object;
      label.firstChild.setAttribute("aria-label", `Object ${i + 1}`);
    });
    if (count) this.drawEdited();
    else find("reset").disabled = true;
  }

  /** Shows an object that was changed by hand, or as it was found. */
  drawEdited() {
    const step = this.seen.steps[this.object];
    const {what, where} = this.edited || step;
    find("reset").disabled = !this.edited;
    for (const input of document.querySelectorAll("#change input[type=range]")) {
      const value = (input.dataset.kind === "what" ? what : where)[
        input.dataset.entry];
      if (document.activeElement !== input || !this.edited) input.value = value;
      input.setAttribute("aria-valuetext", value.toFixed(2));
    }
    const {config} = this.model;
    show(
      find("preview"),
      this.model.mlp("decoder", what).map((v) => v * config.canvas_multiplier),
      config.glimpse_size);
    if (!this.edited) return;
    const window = this.model.window(where);
    const painted = this.model.paint(what, where);
    const {canvas, boxes} = this.panels[this.chosen];
    show(
      canvas,
      this.seen.canvases[this.seen.count].map(
        (v, k) => v - step.object[k] + painted[k]),
      this.size);
    boxes.children[this.object].replaceWith(
      rectangle(boxOf(window, this.size), this.object));
  }
}

/** Returns a step's box. */
function rectangle([y0, x0, y1, x1], step) {
  return create("rect", {
    class: stepClass(step), x: x0, y: y0, width: Math.max(0, x1 - x0),
    height: Math.max(0, y1 - y0),
  });
}

function complain(text) {
  find("problem").textContent = text;
  find("problem").hidden = !text;
}

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

/** Loads the models and the digits, and starts the page. */
async function start() {
  const {models, digit_size: side} =
    await (await fetched("models/models.json")).json();
  const sheet = new Image();
  sheet.src = "models/digits.png";
  const loaded = await Promise.all(models.map(async (entry) => new Model(
    await (await fetched(`models/${entry.file}`)).arrayBuffer(), entry)));
  await sheet.decode();
  const seed = new URLSearchParams(location.search).get("seed");
  return new Page(
    loaded, glyphsOf(sheet, side), side / DIGIT_SIDE,
    seed === null ? Math.random : generator(Number(seed)));
}

/** The page, once it is there. */
const page = start();
page.catch((error) => complain(
  `The model could not be loaded (${error.message}). The page needs a server,`
  + " such as python -m experiments.demo."));
