"""What the voice is worth: base words, personal words and false alarms, on recordings that nothing has learned from.

The modules, bottom up:

    clips        recorded words and noises, who was trained on, and where in a recording its word is
    recognisers  what can be measured: the interface
    ours         the SDK's voice
    peers        MFCC and a support-vector machine, and pocketsphinx
    composing    streams made of clips, with what is said in them and when
    figures      shares over speakers with their intervals, thresholds, and bounds for rare alarms
    base         base words of speakers who were not trained on
    alarms       false alarms in hours of noise and of running speech
    personal     words that a speaker has taught
    digits       base words, before and after a speaker's own recordings of them
    streaming    an hour of sound: processor, memory, and how soon a word is told
    federated    federated against central training at equal data
    measuring    all of it, in parallel over processes
    report       figures, as tables and as JSON
    picture      figures, drawn
    cli          `hushfold-evaluate-voice`
"""
