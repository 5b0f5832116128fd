"""Everyday messages, written for this project: contexts for the gates, and the corpus of the small test model."""

from __future__ import annotations

PHRASES = (
    "I'm on my way, see you in ten minutes",
    "are you coming to the party tonight?",
    "thanks so much for your help!",
    "can you call me when you get home",
    "what time does the train leave?",
    "sorry, I'm running a bit late",
    "let me know if you need anything else",
    "do you want to get some food after work?",
    "happy birthday! hope you have a great day",
    "I don't think that's a good idea",
    "how was your weekend? did you go to the beach",
    "the meeting is at <time>, don't forget",
    "good morning, did you sleep well?",
    "I will send it to you as soon as I can",
    "we should go there again next year",
    "where are you? I am in front of the station",
    "can't wait to see the new movie with you",
    "please book a table for <number> people",
    "that sounds good to me, thank you",
    "I have no idea what you are talking about",
    "could you buy some milk and bread on the way home?",
    "she said that they would be here by <time>",
    "did you see the game last night? it was amazing",
    "my phone is almost dead, talk to you later",
    "I love this song, it's one of my favorite",
    "no problem, take your time",
    "it is raining again, take an umbrella with you",
    "who is going to pick up the kids from school?",
    "I miss you, come back soon",
    "what do you think about this one?",
    "we are out of coffee again",
    "the doctor said that everything is fine",
    "let's meet at the usual place",
    "I just got home, what are you up to?",
    "ok, good night and sleep well",
    "have a safe trip and call us when you are there",
)
"""A placeholder such as <time> stands for a detail, as in the training data."""

EMOJI = "😂❤️😍😭😊😘🙏👍😅😁🔥🎉😉😎🤔😢🙄💕😡👏💪😴🥰😳🤣✨😋😜🙌👌😔😩💙💜😱🤷🤦😏🎂☀️🌹👀💯😇🤗😬🥺😃😀🎈"
"""Common emoji as they are written, entries of every vocabulary: the public corpora are older than most of them."""
