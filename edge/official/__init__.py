"""The released code's algorithm, fault for fault, so that what is corrected here can be measured against it.

Published with the paper as github.com/HAIV-Lab/MEKD; written anew here. What it does otherwise than the paper, and
otherwise than `edge.deprivatization` and `edge.distillation`:

1. L_IM weighs by the *index* of the teacher's class, not by its confidence, and by the mean of all of a batch: no
   image has a weight of its own (`losses`).
2. The KL term is multiplied by tau, not by tau squared, and the image term is a mean over pixels, not a norm
   (`losses`).
3. A top-1 answer is used as if its one-hot vector were logits: softmax(one-hot / 5) is nearly uniform, and
   one-hot / 5 lies near the origin of the latent space (`distillation`).
4. Every step asks about a fresh batch and learns from it once. The GAN is an unguarded DCGAN, and asks with images of
   its training mode; the student is the last one (`deprivatization`, `distillation`).

What is not reproduced: the released code reports the best of 240 looks at the test images, and takes the generator of
an epoch that was chosen by hand. Here the last student and the last generator count, and nobody looks at test images.
Because its loops are bounded by epochs and ours by a budget, the GAN goes on after the last query of step 1 with the
last index that it learnt, and step 2 has as many steps as the rest of the budget pays for. What is asked about is
rounded to the bytes that a server takes, and the student sees the same bytes. Images keep the teacher's size, where
the released code scales all to 32x32; its discriminator sees smaller ones enlarged (`networks`).
"""
