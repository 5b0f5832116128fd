"""Learning: from the sums that devices release to the next state of the model.

TensorFlow Federated defines the learning; this package alone imports it, and the `learner` process alone imports
this package (it takes over ten seconds). Values in, values out: it knows no database, no files and no HTTP. Bottom up:

    aggregator           the update encoding of the devices, as a TFF aggregator
    model                a model and one of its parts, as TFF's functional model
    in_process           running TFF's graphs in this very process
    federated_averaging  the first two compiled into graphs and slots, with the promise that the slots keep
    task                 one task's learning: state -> what devices need -> sum -> next state

Importing the package itself imports neither TensorFlow nor TFF.
"""

from google.protobuf.internal import api_implementation

if api_implementation.Type() == "upb":
    # TFF nests its graphs deeper than the 100 levels that protobuf's C parser accepts by default, and would fail with
    # a DecodeError. Nothing parsed here comes from a device.
    from google._upb import _message

    _message.SetAllowOversizeProtos(True)
