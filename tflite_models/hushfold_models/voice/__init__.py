"""The voice model: commands out of a second of sound, and features by which a person's own words are told apart.

The modules, bottom up:

    config       sizes, layout of the vector
    network      the graph: from log-mel features to labels, with gradients that a device can compute
    clips        recorded speech and noise, and who is held out
    synthesis    made-up speakers, who say other words and commands
    augmentation what rooms, microphones and manners of speaking do to a clip
    pretraining  training of the base
    quality      figures on speakers and noise that nothing was trained on
"""
