"""The paper's whole evaluation of a scored cohort: discrimination, prognosis, controls, repetition, one report."""
