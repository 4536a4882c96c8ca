"""The networks: architectures, engines that run them, registry, training, evaluation, cards and weights."""
