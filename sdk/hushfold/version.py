"""The SDK's version, as devices state it and releases demand it. `sdk/setup.cfg` has the same; a test compares."""

VERSION = "0.1.0"
