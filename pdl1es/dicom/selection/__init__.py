"""Which CT series and which segment of a study are scored, and why.

``facts`` parses the whole study once, ``segment`` and ``series`` judge what it holds by the ``rules``, ``reference`` finds
the series on which the tumour was drawn, and ``survey`` makes the choice, in the order in which faults are reported.
"""
