"""What suggestions are worth: every predictor on the same people's later messages, word for word.

The modules, bottom up:

    errors       what can go wrong, as sentences
    texts        whose messages, in order of time, and the public texts
    predictors   what can be measured: the interface
    protocol     which words are targets, and what counts as a hit and as a saved keystroke
    statistics   intervals over people, and who is significantly better or worse off
    ngrams       counts of words, pairs and triples in arrays
    trigram      the interpolated trigram, alone and with the user's own mixed in
    keyboards    the SDK's keyboard
    presage      Debian's presage
    onboard      the word prediction of Debian's on-screen keyboard
    contenders   the list of all of them
    measuring    people in parallel over processes
    rehearsals   what a rehearsal of a federated task has left
    federated    what a federated task has learned, and on whom it may be measured
    costs        memory, and the time of one suggestion
    report       figures, as a table and as JSON
    picture      figures, drawn
    cli          `hushfold-evaluate`
"""
