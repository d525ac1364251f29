"""The statistics of evaluation and prognosis: plain functions on arrays, frozen dataclasses as results."""
