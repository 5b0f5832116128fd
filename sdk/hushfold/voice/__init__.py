"""Voice: what a microphone or a file gives, until it is speech with a beginning and an end.

It needs the packages of the extra `voice`, each only where it is used. The modules, bottom up:

    audio       what audio is here: any block of an app's, turned into 16 kHz mono float32
    files       wav, flac and ogg files as blocks of audio
    microphone  a microphone as blocks of audio, and what to do when there is none
    level       how loud it is, for a meter on the screen
    activity    where in a stream somebody speaks
"""
