"""Voice: commands and wake words, from a microphone or a file to what was said, learned from the one who says it.

It needs the packages of the extra `voice`, each only where it is used. The modules, bottom up:

    audio         what audio is here: any block of an app's, turned into 16 kHz mono float32
    files         wav, flac and ogg files as blocks of audio
    portaudio     what reaches the microphones, its devices and its errors
    microphone    a microphone as blocks of audio, and what to do when there is none
    level         how loud it is, for a meter on the screen
    activity      where in a stream somebody speaks
    sound         one spoken word as it is kept and compared
    model         the voice model on LiteRT
    matching      how alike two spoken words are
    recognition   what was said: a command, or a word that was taught
    recordings    what is kept of the user's voice, encrypted
    lessons       what the voice model learns from
    commands      the user's own way of saying commands, put to the test
    repertoire    all that is recognised, as the user's recordings come and go
    spoken_words  words that the user teaches
    stream        sound as it comes, and the words in it
    voice         all of the above, as an app embeds it
"""
